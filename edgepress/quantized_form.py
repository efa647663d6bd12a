"""In which form a network is quantized: what its weights are stored as, and what its activations are computed in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Activations = Literal["int8", "int16", "dynamic", "float"]
"""In integers with the ranges of a calibration, in integers with ranges found while the network runs, or not at all."""


@dataclass(frozen=True)
class QuantizedForm:
    """`weight_bits` are those that occur, rising; `grouped` says that weights have several scales an output channel."""

    activations: Activations
    weight_bits: tuple[int, ...]
    grouped: bool = False

    @property
    def name(self) -> str:
        """As one calls it: w8a8, w4/8a8 where the layers differ, w8a16, w4g (weights alone, in groups), w8dynamic."""
        bits = "/".join(map(str, self.weight_bits)) or "32"
        behind = {"int8": "a8", "int16": "a16", "dynamic": "dynamic", "float": ""}[self.activations]
        return f"w{bits}{'g' if self.grouped else ''}{behind}"
