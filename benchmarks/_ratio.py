"""How many times slower or faster, with the interval that the noise of the machine leaves open."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgepress.benchmarks._measurement import Measurement

RESAMPLES = 1000
CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """`value` is median over baseline median (below 1: faster); `low` and `high` its 95 % interval.

    `paired` is True when both were interleaved, so that a slow spell of the machine hit both alike.
    Of instructions that were counted, `low` and `high` are the extremes of any two counts.
    """

    value: float
    low: float
    high: float
    paired: bool


def are_comparable(baseline: Measurement, other: Measurement) -> bool:
    """Whether both have latency samples, or both have counts of instructions: the two say nothing about each other."""
    both = (baseline, other)
    return all(one.latency_ms for one in both) or all(one.instructions for one in both)


def ratio(baseline: Measurement, other: Measurement) -> Ratio:
    """The latency of `other` over that of `baseline`; of emulated ones, their instructions.

    The interval is a percentile bootstrap over whole rounds (Efron, 1979): samples of one round share the
    state of the machine, so single samples would promise more than they know. Raises ValueError where the two are not
    comparable.
    """
    if not are_comparable(baseline, other):
        raise ValueError("a ratio needs latency samples, or instructions, on both sides")
    if baseline is other:
        return Ratio(value=1.0, low=1.0, high=1.0, paired=True)
    if baseline.emulated:
        return _of_instructions(baseline.instructions, other.instructions)
    paired = baseline.comparison != "" and (baseline.comparison, baseline.rounds) == (
        other.comparison,
        other.rounds,
    )
    below, above = _by_round(baseline), _by_round(other)
    random = np.random.default_rng(0)
    ratios = np.empty(RESAMPLES)
    for index in range(RESAMPLES):
        drawn = random.integers(0, len(below), len(below))
        drawn_above = drawn if paired else random.integers(0, len(above), len(above))
        ratios[index] = np.median(above[drawn_above]) / np.median(below[drawn])
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(ratios, (tail, 100 - tail))
    value = float(np.median(above) / np.median(below))
    return Ratio(value=value, low=float(low), high=float(high), paired=paired)


def _of_instructions(below: Sequence[int], above: Sequence[int]) -> Ratio:
    return Ratio(
        value=float(np.median(above) / np.median(below)),
        low=min(above) / max(below),
        high=max(above) / min(below),
        paired=True,
    )


def _by_round(measurement: Measurement) -> np.ndarray:
    return np.asarray(measurement.latency_ms).reshape(measurement.rounds, -1)
