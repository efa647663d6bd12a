"""An NVIDIA GPU of this machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from edgepress.devices._device import Device
from edgepress.errors import BadOption


@dataclass(frozen=True)
class Cuda(Device):
    """`index` as CUDA counts them."""

    index: int = 0

    here: ClassVar[bool] = True
    syntax: ClassVar[str] = "cuda:INDEX"

    @classmethod
    def parse(cls, location: str) -> Cuda:
        if not location.isascii() or not location.isdigit():
            raise BadOption(f"{location!r} is no index of a GPU.", where="target", hint="cuda:0")
        return cls(int(location))

    def __str__(self) -> str:
        return f"cuda:{self.index}"
