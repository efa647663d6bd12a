"""What a piece of work took of this process: one way for our quantizer and for the peers', in whose environments edgepress is not."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

Result = TypeVar("Result")


def measured(work: Callable[[], Result]) -> tuple[Result, dict[str, float]]:
    """The result, with CPU seconds and how far the peak of memory rose above what was in use before, in MB."""
    before_kb = _status_kb("VmRSS")
    started = time.process_time()
    result = work()
    seconds = time.process_time() - started
    peak_mb = (_status_kb("VmHWM") - before_kb) * 1024 / 1e6
    return result, {"cpu_seconds": seconds, "peak_mb": peak_mb}


def tell(figures: dict[str, float]) -> None:
    """One line of JSON, whatever was printed before it."""
    sys.stdout.write("\n" + json.dumps(figures) + "\n")


def _status_kb(key: str) -> int:
    """What Linux says of this process alone: getrusage's peak begins with that of the process that started it."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    (found,) = (line.split()[1] for line in lines if line.startswith(f"{key}:"))
    return int(found)
