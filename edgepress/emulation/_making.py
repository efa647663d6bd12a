"""Makes the ARM64 Linux: unpacks packages and wheels, compiles the counter, and lays a root out for each processor."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

from edgepress.debian import MIRROR, RELEASE, Debian
from edgepress.emulation import _wheels
from edgepress.emulation._profile import CPUS, PROFILES, Profile
from edgepress.emulation._userland import COUNTER, QEMU, SITE, Userland
from edgepress.errors import BackendMissing
from edgepress.isolation import run

COUNTER_SOURCE = Path(__file__).with_name("instructions.c")

GUEST_PACKAGES = ("python3-minimal", "libpython3.11-stdlib", "libstdc++6", "libgomp1", "zlib1g")
"""An interpreter with its library, and the shared libraries that wheels take from the system."""

CPU_LISTS = ("possible", "present", "online")
"""The files of /sys/devices/system/cpu that say which processors there are."""

FIRST, *OTHERS = PROFILES.values()
"""The profile whose root is filled, and those whose roots are links to the same files."""


def content() -> tuple[str, ...]:
    """Everything that decides about the folder's content."""
    profiles = (profile.cpuinfo for profile in PROFILES.values())
    return (*_wheels.requirements(), *GUEST_PACKAGES, MIRROR, RELEASE, COUNTER_SOURCE.read_text(), *profiles)


def require_compiler() -> None:
    """Raise BackendMissing where the counter cannot be compiled: asked before anything is fetched."""
    if shutil.which("gcc") is None:
        raise BackendMissing(
            "The instruction counter cannot be compiled on this machine.",
            where="missing: gcc",
            hint="apt install gcc",
        )


def steps(folder: Path) -> tuple[Callable[[], None], ...]:
    """What makes the ARM64 Linux in the folder, in order. Each may raise BackendMissing."""
    scratch, made = folder / "scratch", Userland(folder)
    return (
        partial(scratch.mkdir, parents=True),
        partial(_compile_counter, folder / COUNTER),
        partial(_unpack_emulator, scratch, folder / QEMU),
        partial(_unpack_guest, scratch, made.root(FIRST)),
        partial(_wheels.unpack, _wheels.requirements(), folder / SITE),
        partial(_compile_python, made),
        partial(_link_roots, made),
        partial(shutil.rmtree, scratch),
    )


def _compile_counter(library: Path) -> None:
    flags = ("-O2", "-shared", "-fPIC", "-fvisibility=hidden")
    done = run(["gcc", *flags, "-o", library, COUNTER_SOURCE], library.parent)
    if not done.succeeded:
        raise BackendMissing(
            f"The instruction counter cannot be compiled: {done.said}.",
            where=str(COUNTER_SOURCE),
            hint="apt install gcc libc6-dev",
        )


def _unpack_emulator(scratch: Path, folder: Path) -> None:
    Debian("amd64", scratch).unpack(("qemu-user",), folder)
    for program in (folder / "usr" / "bin").iterdir():
        if program.name != "qemu-aarch64":
            program.unlink()


def _unpack_guest(scratch: Path, root: Path) -> None:
    Debian("arm64", scratch).unpack(GUEST_PACKAGES, root)
    _describe(root, FIRST)


def _compile_python(made: Userland) -> None:
    """Byte code for all modules, once: without it every guest compiles what it imports, for seconds."""
    root = made.root(FIRST)
    modules = (str(root / "usr" / "lib" / f"python{_wheels.PYTHON}"), str(made.folder / SITE))
    compiling = ("-m", "compileall", "-q", "-s", str(made.folder), *modules)
    done = run([*made.prefix(FIRST), made.python(FIRST), *compiling], made.folder)
    if not done.succeeded:
        raise BackendMissing(
            f"The emulated Python does not run: {done.said}.", where=str(root), hint="edgepress doctor"
        )


def _link_roots(made: Userland) -> None:
    """The roots of the other processors: hard links, but for the files that describe the processor."""
    for profile in OTHERS:
        shutil.copytree(made.root(FIRST), made.root(profile), symlinks=True, copy_function=os.link)
        _describe(made.root(profile), profile)


def _describe(root: Path, profile: Profile) -> None:
    """Put the files into the root that tell programs about the processor, in place of this machine's."""
    cpus = root / "sys" / "devices" / "system" / "cpu"
    lists = dict.fromkeys((cpus / name for name in CPU_LISTS), f"0-{CPUS - 1}\n")
    for path, text in {root / "proc" / "cpuinfo": profile.cpuinfo, **lists}.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)  # it may be a link to another root's
        path.write_text(text)
