"""An NVIDIA GPU of this machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

from edgepress.devices._device import Device
from edgepress.errors import BadOption

Arithmetic = Literal["float32", "tf32", "float16"]


@dataclass(frozen=True)
class Cuda(Device):
    """`index` as CUDA counts them. `arithmetic` is what a float32 file's convolutions and products are computed in: tf32 has
    ten bits of mantissa and float16's are halves throughout; a file in float16 or int8 says so itself."""

    index: int = 0
    arithmetic: Arithmetic = "float32"

    here: ClassVar[bool] = True
    syntax: ClassVar[str] = "cuda:INDEX[/tf32|/float16]"

    @classmethod
    def parse(cls, location: str) -> Cuda:
        index, mark, told = location.partition("/")
        known = {name: name for name in get_args(Arithmetic)}
        if not index.isascii() or not index.isdigit():
            raise BadOption(f"{index!r} is not a GPU index.", where="target", hint="cuda:0")
        if mark and told not in known:
            raise BadOption(f"{told!r} is not a GPU arithmetic.", where="target", hint=cls.syntax)
        return cls(int(index), known[told] if mark else "float32")

    def __str__(self) -> str:
        return f"cuda:{self.index}" + (f"/{self.arithmetic}" if self.arithmetic != "float32" else "")
