"""How numbers are written for people, in tables and in the report alike. A dash stands for None."""

from __future__ import annotations

DASH = "–"
STEPS = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


def count(value: float | None) -> str:
    """`2.24 M`: parameters and multiply-accumulates."""
    return _scaled(value, "")


def size(value_bytes: float | None) -> str:
    """`3.50 MB`, of 1,000,000 bytes each."""
    return _scaled(value_bytes, "B")


def milliseconds(value_ms: float | None) -> str:
    """Three significant digits: `0.123`, `1.23`, `12.3`, `1230`."""
    if value_ms is None:
        return DASH
    digits = 3 if value_ms < 1 else 2 if value_ms < 10 else 1 if value_ms < 100 else 0
    return f"{value_ms:.{digits}f}"


def percent(value: float | None) -> str:
    """`88.70`, without the sign: the heading says it."""
    return DASH if value is None else f"{value:.2f}"


def points(change: float) -> str:
    """A change of accuracy, signed: `−0.60`."""
    return f"{change:+.2f}".replace("-", "−")


def times(value: float | None) -> str:
    """A ratio: `0.53`."""
    return DASH if value is None else f"{value:.2f}"


def seconds(value: float) -> str:
    """`0.4 s`, `12 s`, `3 min 05 s`."""
    if value < 60:
        return f"{value:.1f} s" if value < 10 else f"{value:.0f} s"
    return f"{int(value // 60)} min {int(value % 60):02d} s"


def _scaled(value: float | None, unit: str) -> str:
    if value is None:
        return DASH
    for step, prefix in STEPS:
        if abs(value) >= step:
            scaled = value / step
            return f"{scaled:.{2 if scaled < 100 else 0}f} {prefix}{unit}"
    return f"{value:.0f} {unit}".rstrip()
