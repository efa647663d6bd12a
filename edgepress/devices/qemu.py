"""An ARM64 processor that is emulated on this machine: its results are those of a board, its times are not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from edgepress.devices._device import Device
from edgepress.devices._launcher import Launcher
from edgepress.emulation import PROFILES, check, make, require
from edgepress.errors import BadOption
from edgepress.progress import Progress, silent


@dataclass(frozen=True)
class Qemu(Device):
    """`profile` is one of edgepress/emulation's."""

    profile: str

    syntax: ClassVar[str] = "qemu:PROFILE"

    @classmethod
    def parse(cls, location: str) -> Qemu:
        if location not in PROFILES:
            known = ", ".join(f"qemu:{name}" for name in PROFILES)
            raise BadOption(
                f"{location!r} is not a processor that can be emulated.", where="target", hint=known
            )
        return cls(location)

    def __str__(self) -> str:
        return f"qemu:{self.profile}"

    @classmethod
    def setup(cls, progress: Progress = silent) -> None:
        """Make the ARM64 Linux that the emulated processors run."""
        make(progress)

    def launcher(self) -> Launcher:
        """Raises also DeviceFailed, where the emulated processor is not what its profile says."""
        profile, found = PROFILES[self.profile], require()
        check(found, profile)
        return Launcher(
            prefix=found.prefix(profile), python=found.python(profile), processor="aarch64", emulated=True
        )
