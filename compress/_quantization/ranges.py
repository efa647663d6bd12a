"""From the values that a tensor takes to the scale and zero point of its int8 form."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

LOWEST, HIGHEST = -128, 127
STEPS = HIGHEST - LOWEST
SMALLEST_SCALE = 2.0**-60
"""Stands in for the scale of a tensor that is always zero; the product of two of them is still a normal float32."""


@dataclass(frozen=True)
class Range:
    """The float values that int8 covers: `minimum` becomes about -128, `maximum` about 127, and zero is exact.

    With `low_half` only the lower 128 integers are used: products with them leave int16 room for a sum. With 16 `bits`
    the integers are int16 and lie about zero, as kernels have them.
    """

    minimum: float
    maximum: float
    low_half: bool = False
    bits: int = 8

    def __post_init__(self) -> None:
        # Zero has an integer of its own, always: padding and dead channels must stay zero.
        object.__setattr__(self, "minimum", min(float(self.minimum), 0.0))
        object.__setattr__(self, "maximum", max(float(self.maximum), 0.0))

    @property
    def scale(self) -> float:
        """The float32 step between neighbouring integers; never zero."""
        if self.bits > 8:
            return float(np.float32(max(max(-self.minimum, self.maximum) / self.highest, SMALLEST_SCALE)))
        steps = STEPS // 2 if self.low_half else STEPS
        return float(np.float32(max((self.maximum - self.minimum) / steps, SMALLEST_SCALE)))

    @property
    def zero_point(self) -> int:
        """The integer that stands for zero."""
        if self.bits > 8:
            return 0
        return int(np.clip(round(LOWEST - self.minimum / self.scale), LOWEST, HIGHEST))

    @property
    def lowest(self) -> int:
        return -self.highest - 1

    @property
    def highest(self) -> int:
        return (1 << (self.bits - 1)) - 1

    @property
    def dtype(self) -> torch.dtype:
        return torch.int8 if self.bits == 8 else torch.int16
