"""What the report says of files that ran on and on: whether their device kept its speed, and what it told meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgepress.benchmarks._measurement import Measurement
from edgepress.benchmarks._numbers import DASH
from edgepress.benchmarks._sustained import Window


@dataclass(frozen=True, kw_only=True)
class Endurance:
    """One file's windows in short. `slowdown` is the last window over the first; clock, temperature and throttling are
    written out, with a dash for what the device does not tell."""

    title: str
    seconds: float
    first_ms: float
    last_ms: float
    slowdown: float
    clock: str
    temperature: str
    throttled: str


def endurance(title: str, measurement: Measurement) -> Endurance:
    """Of a measurement with windows."""
    windows = measurement.sustained
    first, last = windows[0], windows[-1]
    return Endurance(
        title=title,
        seconds=last.start_s + last.runs * last.median_ms / 1e3,
        first_ms=first.median_ms,
        last_ms=last.median_ms,
        slowdown=last.median_ms / first.median_ms,
        clock=_range([window.clock_mhz for window in windows], "MHz"),
        temperature=_range([window.temperature_c for window in windows], "°C"),
        throttled=_throttled(windows),
    )


def _range(values: Sequence[float | None], unit: str) -> str:
    """From the first to the last that was told."""
    told = [value for value in values if value is not None]
    return f"{told[0]:.0f} to {told[-1]:.0f} {unit}" if told else DASH


def _throttled(windows: Sequence[Window]) -> str:
    told = [window.throttled for window in windows if window.throttled is not None]
    return f"{sum(told)} of {len(told)} windows" if told else DASH
