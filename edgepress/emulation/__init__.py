"""ARM64 processors, emulated on this machine: a small Linux of their own with the runtimes, and a count of instructions.

`edgepress devices setup qemu` makes it, once, in the cache folder. Nothing here measures a time: an emulator's milliseconds
mean nothing.
"""

from __future__ import annotations

from pathlib import Path

from edgepress.emulation import _making
from edgepress.emulation._checking import check
from edgepress.emulation._profile import PROFILES, Profile
from edgepress.emulation._userland import Userland, require_host
from edgepress.errors import BackendMissing
from edgepress.made_once import make_once, named_after
from edgepress.progress import Progress, silent, track

__all__ = ["COST", "PROFILES", "Profile", "Userland", "check", "make", "require", "userland"]

COST = "about 400 MB on disk, 100 MB to download, two minutes"


def userland() -> Userland:
    """Where the Linux lies, made or not yet: under a hash of what it is made of."""
    return Userland(named_after("emulation", "arm64", _making.content()))


def require() -> Userland:
    """The Linux, made. Raises BackendMissing, with the command that makes it and what that costs, where it is not,
    and UnsupportedTarget on a machine that cannot emulate."""
    require_host()
    found = userland()
    if not found.folder.is_dir():
        raise BackendMissing(
            "The emulated ARM64 Linux is not set up yet.",
            where=str(found.folder),
            hint=f"edgepress devices setup qemu ({COST})",
        )
    return found


def make(progress: Progress = silent) -> Userland:
    """Make the Linux where it is not, and check each of its processors.

    Raises BackendMissing where a program or the network is missing, UnsupportedTarget on a machine that cannot
    emulate, DeviceFailed where a processor is not what its profile says.
    """
    require_host()
    _making.require_compiler()

    def fill(folder: Path) -> None:
        for step in track(_making.steps(folder), "making the emulated ARM64 Linux", progress):
            step()

    found = userland()
    make_once(found.folder, "The emulated ARM64 Linux", found.folder.is_dir, fill)
    for profile in track(tuple(PROFILES.values()), "checking the processors", progress):
        check(found, profile)
    return found
