"""Where an artifact runs: a device, and which of its runtimes.

Written DEVICE or DEVICE#RUNNER: `cpu`, `ssh://pi@board#onnxruntime`, `qemu:cortex-a76#litert`. A runner that is not said is
left to the format; `cpu:litert` is short for `cpu#litert`. A name that the user gave a device stands for its text.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from edgepress import devices
from edgepress.devices import Device
from edgepress.devices.cpu import Cpu
from edgepress.errors import BadOption, UnknownName

RUNNER = "#"


@dataclass(frozen=True)
class Target:
    """`name` is the user's for this device, empty where it was written out; `python` the interpreter to use there
    in place of the one that it finds."""

    device: Device = Cpu()
    runner: str = ""
    name: str = ""
    python: str = ""

    @classmethod
    def parse(cls, text: str) -> Target:
        """Raises UnknownName or BadOption for what is no target. That the runner is one is asked when it is used."""
        place, mark, runner = text.partition(RUNNER)
        if mark and not runner:
            raise BadOption(
                f"{text!r} does not name a runner after the {RUNNER}.",
                where=f"--on {text}",
                hint="cpu#onnxruntime, or leave out the sign",
            )
        if place.startswith("cpu:") and not mark:
            place, _, runner = place.partition(":")
        known = devices.named()
        if place in known:
            meant = cls.parse(known[place].target)
            return replace(meant, runner=runner or meant.runner, name=place, python=known[place].python)
        try:
            return cls(devices.parse(place), runner)
        except UnknownName as error:
            raise UnknownName("target", place, (*error.known, *known), where=f"--on {text}") from None

    def __str__(self) -> str:
        mark = ":" if self.place == "cpu" else RUNNER
        return f"{self.place}{mark}{self.runner}" if self.runner else self.place

    @property
    def place(self) -> str:
        """The device as the user calls it."""
        return self.name or str(self.device)
