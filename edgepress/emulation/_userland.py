"""An ARM64 Linux in a folder, and what starts its programs here."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path

from edgepress.emulation import _wheels
from edgepress.emulation._profile import Profile
from edgepress.errors import UnsupportedTarget

QEMU, SITE, COUNTER, MACHINES = "qemu", "site", "instructions.so", "machines"
"""What lies in the folder: the emulator, the guest's Python packages, the emulator's plugin, and a root for each processor."""

LIBRARIES = "x86_64-linux-gnu"
CLEAN = ("env", "-i", "PATH=/usr/bin:/bin")
"""No variable of this machine reaches the guest: those of the dynamic loader would break it, Python's mislead it."""


@dataclass(frozen=True)
class Userland:
    """The emulator runs on the libraries that came with it, by their own loader, so that none of them is the guest's."""

    folder: Path

    def root(self, profile: Profile) -> Path:
        """What a guest on this processor finds below `/`; what is not there is this machine's own."""
        return self.folder / MACHINES / profile.name

    def prefix(self, profile: Profile) -> tuple[str, ...]:
        """The words in front of a guest's program: a clean environment, the loader, the emulator, its plugin."""
        qemu = self.folder / QEMU
        libraries = ":".join(str(qemu / place / LIBRARIES) for place in ("lib", "usr/lib"))
        # Python in the guest must write nothing: what its root lacks, such as a folder for byte code, is ours.
        variables = (f"PYTHONPATH={self.folder / SITE}", "PYTHONDONTWRITEBYTECODE=1", "PYTHONNOUSERSITE=1")
        loader = (str(qemu / "lib" / LIBRARIES / "ld-linux-x86-64.so.2"), "--library-path", libraries)
        emulator = (str(qemu / "usr" / "bin" / "qemu-aarch64"), "-cpu", profile.name)
        plugin = ("-plugin", str(self.folder / COUNTER), "-L", str(self.root(profile)))
        return (*CLEAN, *variables, *loader, *emulator, *plugin)

    def python(self, profile: Profile) -> str:
        """The guest's interpreter."""
        return str(self.root(profile) / "usr" / "bin" / f"python{_wheels.PYTHON}")


def require_host() -> None:
    """Raise UnsupportedTarget unless this is the kind of machine that the emulator is fetched for."""
    here = f"{platform.system()} on {platform.machine()}"
    if here != "Linux on x86_64":
        raise UnsupportedTarget(
            f"ARM64 processors are emulated by Linux on x86_64, not by {here}.",
            hint="a board or phone is reached as ssh://user@host or adb:SERIAL",
        )
