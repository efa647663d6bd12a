"""How much resident memory this process needed at most between two points in time."""

from __future__ import annotations

import ctypes
from pathlib import Path

STATUS = Path("/proc/self/status")
CLEAR_REFS = Path("/proc/self/clear_refs")
RESET_PEAK = "5"


class PeakMemory:
    """Counts from its construction. Linux with glibc only: elsewhere `rise_mb` is None."""

    def __init__(self) -> None:
        # Memory that was freed but kept would be filled again without a rise.
        countable = _give_back_freed() and _reset_peak()
        self._before_kb = _status_kb("VmRSS") if countable else None

    def rise_mb(self) -> float | None:
        """The peak since the construction minus what was resident then."""
        peak_kb = _status_kb("VmHWM")
        if self._before_kb is None or peak_kb is None:
            return None
        return round(max(peak_kb - self._before_kb, 0) * 1024 / 1e6, 2)


def _give_back_freed() -> bool:
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (AttributeError, OSError, TypeError):
        return False
    return True


def _reset_peak() -> bool:
    try:
        CLEAR_REFS.write_text(RESET_PEAK)
    except OSError:
        return False
    return True


def _status_kb(key: str) -> int | None:
    try:
        lines = STATUS.read_text().splitlines()
    except OSError:
        return None
    values = [line.split()[1] for line in lines if line.startswith(f"{key}:")]
    return int(values[0]) if values else None
