"""Whether a device keeps its speed: one artifact run without a pause, minute after minute, window by window."""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from edgepress.machine import Machine
from edgepress.progress import Progress, silent

WINDOWS = 20
"""Enough to see where a device slows down, few enough to read."""


@dataclass(frozen=True, kw_only=True)
class Window:
    """One stretch of a sustained run: it began `start_s` after the first; clock, temperature and throttling are those at
    its end, None where the device does not tell."""

    start_s: float
    runs: int
    median_ms: float
    clock_mhz: float | None = None
    temperature_c: float | None = None
    throttled: bool | None = None


def sustained(
    invoke_ms: Callable[[], float], seconds: float, progress: Progress = silent
) -> tuple[Window, ...]:
    """Windows of equal length that fill `seconds` with invocations; `invoke_ms` executes once and gives its time."""
    if not seconds:
        return ()
    found = []
    for window in _windows(invoke_ms, seconds):
        found.append(window)
        progress("running on and on", len(found), WINDOWS)
    return tuple(found)


def _windows(invoke_ms: Callable[[], float], seconds: float) -> Iterator[Window]:
    began = time.perf_counter()
    for number in range(1, WINDOWS + 1):
        start, times_ms = time.perf_counter(), [invoke_ms()]
        while time.perf_counter() < began + seconds * number / WINDOWS:
            times_ms.append(invoke_ms())
        machine = Machine.read(Path("/"), platform.release())
        yield Window(
            start_s=start - began,
            runs=len(times_ms),
            median_ms=statistics.median(times_ms),
            clock_mhz=machine.clock_mhz,
            temperature_c=machine.temperature_c,
            throttled=machine.throttled,
        )
