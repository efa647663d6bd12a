"""The processor of this machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from edgepress.devices._device import Device
from edgepress.errors import BadOption


@dataclass(frozen=True)
class Cpu(Device):
    """There is one, whatever its cores."""

    here: ClassVar[bool] = True
    syntax: ClassVar[str] = "cpu"

    @classmethod
    def parse(cls, location: str) -> Cpu:
        if location:
            raise BadOption(
                f"{location!r} is not a processor of this machine.", where="target", hint=cls.syntax
            )
        return cls()

    def __str__(self) -> str:
        return "cpu"
