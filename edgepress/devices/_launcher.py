"""What stands in front of a program on a device: nothing on hardware, an emulator where there is none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Launcher:
    """`prefix` are the words in front of every program, `environment` the variables that it gets, `python` the
    interpreter there, `processor` what programs have to be made for (empty: what the device's `uname -m` says). Where
    `emulated`, times mean nothing, and are never shown."""

    prefix: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    python: str = "python3"
    processor: str = ""
    emulated: bool = False

    def command(self, *program: str) -> list[str]:
        """The words that start the program on the device."""
        settings = [f"{name}={value}" for name, value in self.environment.items()]
        return [*(["env", *settings] if settings else []), *self.prefix, *program]
