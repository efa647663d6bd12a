"""Quantizes one saved Program by a recipe and writes its ONNX file, in a process of its own; says what that took.

python _own_quantizer.py MODEL.pt2 RECIPE.yaml SAMPLES.npy OUT.onnx
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
from _noise import Noise  # type: ignore[import-not-found]  # beside this script

from edgepress import compress, convert
from edgepress.program import Program
from edgepress.recipe import Recipe


class Samples(Noise):  # type: ignore[misc]  # mypy does not see what lies beside a script
    """Arrays that are preprocessed already, for whatever split is asked for."""

    name = "samples"

    def __init__(self, path: Path) -> None:
        self.pictures = np.load(path, mmap_mode="c")


def main() -> None:
    model, recipe, samples, out = (Path(argument) for argument in sys.argv[1:])
    program, data = Program.load(model), Samples(samples)
    before_kb = _status_kb("VmRSS")
    started = time.process_time()
    quantized = compress.apply(program, Recipe.load(recipe), data)
    compressed = time.process_time() - started
    peak_mb = (_status_kb("VmHWM") - before_kb) * 1024 / 1e6
    convert.to(quantized, "onnx", out)
    sys.stdout.write("\n" + json.dumps({"cpu_seconds": compressed, "peak_mb": peak_mb}) + "\n")


def _status_kb(key: str) -> int:
    """What Linux says of this process alone: getrusage's peak begins with that of the process that started it."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    (found,) = (line.split()[1] for line in lines if line.startswith(f"{key}:"))
    return int(found)


if __name__ == "__main__":
    main()
