"""From a tensor's histogram to the range that int8 should cover: one function a method."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Literal

import numpy as np

from edgepress.compress._quantization.histogram import BINS, Histogram
from edgepress.compress._quantization.ranges import HIGHEST, LOWEST, STEPS, Range

Calibration = Literal["minmax", "moving_average", "percentile", "entropy", "mse", "best"]
Calibrator = Callable[[Histogram], Range]

NEAR = (0.85, 0.93, 1.08)
"""The shares of the range with the least error that are proposed to the layers behind as well."""

ENTROPY_BINS = 2048
ENTROPY_STRIDE = 8
"""TensorRT's number of bins; and how many bins the tried ends are apart."""

SMALLEST_SHARE = 1e-9
"""Stands in for the share of values that the integers cannot show at all."""

MSE_COARSE = np.linspace(1.0, 0.2, 41)
MSE_FINE = np.linspace(1.03, 0.97, 13)
"""The shares of an end that are tried: first of the extreme, then of the best so far."""


def calibrator(name: Calibration, percentile: float) -> Calibrator:
    """The function called `name`; `percentile` matters to the one of this name alone."""
    named: dict[Calibration, Calibrator] = {
        "minmax": minmax,
        "moving_average": moving_average,
        "percentile": partial(by_percentile, percent=percentile),
        "entropy": by_entropy,
        "mse": by_error,
        "best": by_error,  # where no layer reads the tensor; else see output_error.py
    }
    return named[name]


def proposals(histogram: Histogram, percentile: float) -> list[Range]:
    """What the methods find, and ranges somewhat narrower and wider than that with the least error; each once."""
    least = by_error(histogram)
    near = [Range(least.minimum * share, least.maximum * share) for share in NEAR]
    others = [minmax(histogram), moving_average(histogram), by_entropy(histogram)]
    return list(dict.fromkeys([least, *near, *others, by_percentile(histogram, percent=percentile)]))


def counts_values(name: Calibration) -> bool:
    """False when the extremes are all that the method looks at: counting takes most of the time."""
    return name not in ("minmax", "moving_average")


def minmax(histogram: Histogram) -> Range:
    """All values that occurred."""
    return Range(histogram.minimum, histogram.maximum)


def moving_average(histogram: Histogram) -> Range:
    """Between the moving averages of the batches' extremes: one odd sample does not decide."""
    return Range(histogram.average_minimum, histogram.average_maximum)


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


def by_entropy(histogram: Histogram) -> Range:
    """The end beyond which to clip that loses the least information: the least Kullback-Leibler divergence of the
    clipped magnitudes from what is left of them on the integers (Migacz, 2017, 8-bit Inference with TensorRT).

    Magnitudes are counted in ENTROPY_BINS bins at most; a tensor of one sign has all integers for them, any other half.
    """
    width = 2 * histogram.limit / BINS
    largest = max(-histogram.minimum, histogram.maximum)
    if not largest:
        return minmax(histogram)
    both = histogram.counts[BINS // 2 :] + histogram.counts[: BINS // 2][::-1]
    used = both[: math.ceil(largest / width)]
    merged = max(1, math.ceil(len(used) / ENTROPY_BINS))
    counts = np.pad(used, (0, -len(used) % merged)).reshape(-1, merged).sum(1).astype(np.float64)
    counts[0] = 0  # zeros, of which a ReLU makes many, are exact whatever the range
    levels = (STEPS + 1) // (2 if histogram.minimum < 0 < histogram.maximum else 1)
    ends = np.arange(levels, len(counts) + 1, ENTROPY_STRIDE).tolist()
    best = min(ends, key=lambda end: _divergence(counts, end, levels), default=len(counts))
    end = best * merged * width
    return Range(max(-end, histogram.minimum), min(end, histogram.maximum))


def _divergence(counts: np.ndarray, end: int, levels: int) -> float:
    """Kullback-Leibler, of the counts clipped at bin `end` and the same spread out from `levels` integers."""
    clipped = counts[:end].copy()
    starts = np.arange(levels) * end // levels
    occupied = clipped > 0
    sums = np.add.reduceat(clipped, starts)
    places = np.maximum(np.add.reduceat(occupied.astype(np.float64), starts), 1)
    spread = np.repeat(sums / places, np.diff(starts, append=end)) * occupied
    clipped[-1] += counts[end:].sum()
    total, kept = clipped.sum(), spread.sum()
    if not kept:
        return math.inf
    known = clipped > 0
    share, model = clipped[known] / total, np.maximum(spread[known] / kept, SMALLEST_SHARE)
    return float(np.sum(share * np.log(share / model)))


def _squared_error(range: Range, values: np.ndarray, counts: np.ndarray) -> float:
    """The summed squared difference between values and their int8 form."""
    integers = np.clip(np.round(values / range.scale) + range.zero_point, LOWEST, HIGHEST)
    return float(np.dot(counts, ((integers - range.zero_point) * range.scale - values) ** 2))
