"""Quantizes one saved Program by a recipe and writes its ONNX file, in a process of its own; says what that took.

python _own_quantizer.py MODEL.pt2 RECIPE.yaml SAMPLES.npy OUT.onnx
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from _footprint import measured, tell  # type: ignore[import-not-found]  # beside this script

from edgepress import compress, convert
from edgepress.data._arrays import ArrayData
from edgepress.program import Program
from edgepress.recipe import Recipe


def main() -> None:
    model, recipe, samples, out = (Path(argument) for argument in sys.argv[1:])
    program, data = Program.load(model), ArrayData(np.load(samples, mmap_mode="c"))
    quantized, figures = measured(lambda: compress.apply(program, Recipe.load(recipe), data))
    convert.to(quantized, "onnx", out)
    tell(figures)


if __name__ == "__main__":
    main()
