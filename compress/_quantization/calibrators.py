"""From a tensor's histogram to the range that int8 should cover: one function a method."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal

import numpy as np

from edgepress.compress._quantization.histogram import BINS, Histogram
from edgepress.compress._quantization.ranges import HIGHEST, LOWEST, Range

Calibration = Literal["minmax", "percentile", "mse"]
Calibrator = Callable[[Histogram], Range]

MSE_COARSE = np.linspace(1.0, 0.2, 41)
MSE_FINE = np.linspace(1.03, 0.97, 13)
"""The shares of an end that are tried: first of the extreme, then of the best so far."""


def calibrator(name: Calibration, percentile: float) -> Calibrator:
    """The function called `name`; `percentile` matters to the one of this name alone."""
    named: dict[Calibration, Calibrator] = {
        "minmax": minmax,
        "percentile": partial(by_percentile, percent=percentile),
        "mse": by_error,
    }
    return named[name]


def counts_values(name: Calibration) -> bool:
    """False when the extremes are all that the method looks at: counting takes most of the time."""
    return name != "minmax"


def minmax(histogram: Histogram) -> Range:
    """All values that occurred."""
    return Range(histogram.minimum, histogram.maximum)


def by_percentile(histogram: Histogram, *, percent: float) -> Range:
    """The `percent` of the values in the middle: half of the others are clipped on either side."""
    centres, counts = histogram.values()
    share = np.cumsum(counts) / counts.sum()
    outside = (1 - percent / 100) / 2
    half_bin = histogram.limit / BINS
    low = centres[np.searchsorted(share, outside)] - half_bin
    high = centres[min(int(np.searchsorted(share, 1 - outside)), len(centres) - 1)] + half_bin
    return Range(max(low, histogram.minimum), min(high, histogram.maximum))


def by_error(histogram: Histogram) -> Range:
    """The range with the least mean squared error of quantizing: each end is searched in turn, coarse then fine."""
    centres, counts = histogram.values()
    whole = best = minmax(histogram)

    def error(range: Range) -> float:
        return _squared_error(range, centres, counts)

    for shares in (MSE_COARSE, MSE_FINE):
        high = best.maximum if shares is MSE_FINE else whole.maximum
        best = min((Range(best.minimum, high * share) for share in shares), key=error)
        low = best.minimum if shares is MSE_FINE else whole.minimum
        if low < 0:
            best = min((Range(low * share, best.maximum) for share in shares), key=error)
    return best


def _squared_error(range: Range, values: np.ndarray, counts: np.ndarray) -> float:
    """The summed squared difference between values and their int8 form."""
    integers = np.clip(np.round(values / range.scale) + range.zero_point, LOWEST, HIGHEST)
    return float(np.dot(counts, ((integers - range.zero_point) * range.scale - values) ** 2))
