"""The signal-to-quantization-noise ratio: how much energy a tensor has, over that of what it is off by."""

from __future__ import annotations

import math

MOST_DB = 999.0
"""Stands for a ratio without end where it is written down: JSON knows no infinity."""


def decibel(signal: float, noise: float) -> float:
    """The ratio of two energies in dB; infinite without noise, minus infinite where noise is all there is."""
    if noise == 0:
        return math.inf
    return 10 * math.log10(signal / noise) if signal else -math.inf


def bounded(value: float) -> float:
    """What is written down in place of `value`."""
    return max(-MOST_DB, min(value, MOST_DB))


def recorded_db(signal: float, noise: float) -> float:
    """The ratio as it is written down: finite, to two digits."""
    return round(bounded(decibel(signal, noise)), 2)
