"""How many bits weights and activations get: the schemes by their names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

Scheme = Literal["int8", "w4a8", "w2a8", "w8a16"]


@dataclass(frozen=True)
class Bits:
    """Of one weight, which is stored in a byte, and of one value of an activation, in as many as it needs."""

    weights: int = 8
    activations: int = 8

    @property
    def weight_limit(self) -> int:
        """The largest integer of a weight: its negative is the smallest, so that integer kernels may negate weights."""
        return (1 << (self.weights - 1)) - 1


SCHEMES: Mapping[Scheme, Bits] = MappingProxyType(
    {"int8": Bits(), "w4a8": Bits(weights=4), "w2a8": Bits(weights=2), "w8a16": Bits(activations=16)}
)
