"""An Android device, reached by adb: over USB, or the network after `adb connect`."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import ClassVar

from edgepress.devices._device import Device
from edgepress.devices._transport import Transport
from edgepress.errors import BadOption, DeviceFailed

SERIAL = re.compile(r"[A-Za-z0-9][\w.:-]*", re.ASCII)

OURS = PurePosixPath("/data/local/tmp/edgepress/device")
"""The one place of an Android device where adb may write files and execute them."""

ENDED = "edgepress: ended"
"""The last words of every program there: where the link is cut, adb ends as if the program had, with success."""

HINTS = {
    "unauthorized": ("The device does not trust this machine.", "unlock it, and allow USB debugging"),
    "offline": ("The device is offline.", "adb reconnect, or plug it in again"),
    "not found": ("adb does not see the device.", "adb devices lists those that it sees"),
    "no devices": ("adb does not see the device.", "adb devices lists those that it sees"),
}
"""What adb says, what that means, and what to do."""


@dataclass(frozen=True)
class Adb(Device):
    """`serial` as `adb devices` lists it."""

    serial: str

    syntax: ClassVar[str] = "adb:SERIAL"

    @classmethod
    def parse(cls, location: str) -> Adb:
        if not SERIAL.fullmatch(location):
            raise BadOption(
                f"{location!r} is not a serial number.",
                where="target",
                hint=f"{cls.syntax}, as adb devices lists it",
            )
        return cls(location)

    def __str__(self) -> str:
        return f"adb:{self.serial}"

    def transport(self) -> Transport:
        return AdbTransport(self)


class AdbTransport(Transport):
    """Needs an Android that passes exit codes on: 7 (2016) or newer."""

    def __init__(self, device: Adb) -> None:
        super().__init__(str(device))
        self.device = device

    def command(self, program: Sequence[str]) -> list[str]:
        ended = f"{shlex.join(program)}; code=$?; echo {ENDED} >&2; exit $code"
        return ["adb", "-s", self.device.serial, "shell", ended]

    def cache(self) -> PurePosixPath:
        return OURS

    def lost(self, code: int, errors: str) -> DeviceFailed | None:
        """adb's own failures begin with its name or `error:`."""
        if self.said(errors) != errors:
            return None
        told = [line for line in errors.splitlines() if line.startswith(("error:", "adb:"))]
        for said, (meaning, hint) in HINTS.items() if told else ():
            if said in told[-1]:
                return DeviceFailed(meaning, where=self.name, hint=hint)
        what = f"The connection was lost{f': {told[-1]}' if told else ''}."
        return DeviceFailed(what, where=self.name, hint="check the cable, and run again with --resume")

    def said(self, errors: str) -> str:
        return errors.removesuffix(f"{ENDED}\n")
