"""How often a tensor takes which values, counted batch by batch in a fixed amount of memory."""

from __future__ import annotations

import math

import numpy as np
import torch

from edgepress.compress._channels_last import as_it_lies
from edgepress.errors import BadInput

BINS = 1 << 14
"""After any number of doublings at least an eighth of this is in use on either side of zero: 8 bins a step of int8."""

LARGEST_EXACT_COUNT = 1 << 24
"""PyTorch counts in float32, which holds integers up to here."""


MOMENTUM = 0.9
"""How much of the moving average of the extremes a new batch leaves as it was."""


class Histogram:
    """Counts over (-limit, limit), with the exact extremes, and the moving averages of those of the batches.

    When a value lies outside, the limit doubles until none does, and neighbouring bins merge: no count
    is ever spread by guess. 128 KB, whatever the number of samples. Without `counting`, the extremes alone.
    """

    def __init__(self, *, counting: bool = True) -> None:
        self.counting = counting
        self.minimum, self.maximum = math.inf, -math.inf
        self.average_minimum = self.average_maximum = math.nan
        self.limit = 0.0
        self.counts = np.zeros(BINS, np.int64)

    def update(self, values: torch.Tensor) -> None:
        """Add all elements of a tensor of any shape; NaN and infinity raise BadInput."""
        values = as_it_lies(values)
        low, high = (float(extreme) for extreme in torch.aminmax(values))
        if not math.isfinite(low) or not math.isfinite(high):
            raise BadInput(
                "The values are not finite (NaN or infinity).",
                hint="look for NaN in the data, and for a layer that overflows: edgepress verify --layers",
            )
        self.minimum, self.maximum = min(self.minimum, low), max(self.maximum, high)
        self.average_minimum = _moved(self.average_minimum, low)
        self.average_maximum = _moved(self.average_maximum, high)
        largest = max(-low, high)
        if not self.counting:
            return
        if largest == 0:
            self.counts[BINS // 2] += values.numel()
            return
        self._reach(largest)
        for part in values.float().flatten().split(LARGEST_EXACT_COUNT):
            self.counts += torch.histc(part, BINS, -self.limit, self.limit).numpy().astype(np.int64)

    def values(self) -> tuple[np.ndarray, np.ndarray]:
        """The centres of the bins in use, float64 ascending, and their counts."""
        used = np.flatnonzero(self.counts)
        return (used + 0.5) * (2 * self.limit / BINS) - self.limit, self.counts[used]

    def _reach(self, largest: float) -> None:
        """Make the limit at least `largest`."""
        if self.limit == 0:
            self.limit = largest
            return
        doublings = max(0, math.ceil(math.log2(largest / self.limit)))
        if self.limit * 2**doublings < largest:
            doublings += 1
        for _ in range(min(doublings, BINS)):
            merged = self.counts.reshape(-1, 2).sum(1)
            self.counts = np.pad(merged, BINS // 4)
            self.limit *= 2


def _moved(average: float, value: float) -> float:
    return value if math.isnan(average) else MOMENTUM * average + (1 - MOMENTUM) * value
