"""How much memory quantizing takes above the network itself, with 1,000 calibration pictures of 224x224.

python benchmarks/suites/calibration_memory.py

Nothing depends on what the pictures show: they are noise, and so are the weights. SqueezeNet's first feature maps are
the largest of the zoo's.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import click
import numpy as np
import torch
from _suite import check  # type: ignore[import-not-found]  # beside this script

from edgepress import compress
from edgepress.benchmarks._memory import PeakMemory
from edgepress.compress.quantize_static import QuantizeStatic
from edgepress.data import Batch, Data, Split
from edgepress.models.squeezenet import squeezenet1_0
from edgepress.preprocess import Preprocess
from edgepress.program import Program
from edgepress.recipe import Recipe

PICTURES = 1000
SIZE = 224
LARGEST_RISE_MB = 1000


class Noise(Data):
    """Pictures that are made when they are read."""

    name = "noise"

    def count(self, split: Split) -> int:
        return PICTURES

    def batches(
        self,
        split: Split,
        preprocess: Preprocess | None,
        *,
        batch_size: int = 64,
        skip: int = 0,
        limit: int | None = None,
        shuffle_seed: int | None = None,
    ) -> Iterator[Batch]:
        generator = np.random.default_rng(0)
        for start in range(skip, min(PICTURES, limit or PICTURES), batch_size):
            size = min(batch_size, PICTURES - start)
            yield Batch((generator.standard_normal((size, 3, SIZE, SIZE), np.float32),))


def main() -> bool:
    torch.manual_seed(0)
    program = Program.capture(squeezenet1_0(), (torch.zeros(2, 3, SIZE, SIZE),))
    memory = PeakMemory()
    result = compress.apply(program, Recipe((QuantizeStatic(samples=PICTURES),)), Noise())
    rise_mb = memory.rise_mb()
    if rise_mb is None:
        click.echo("peak memory cannot be read here: it takes Linux with glibc")
        return True
    click.echo(f"{result.precision}: {PICTURES} pictures of {SIZE}x{SIZE}")
    holds: bool = check("MB above the network", rise_mb, LARGEST_RISE_MB)
    return holds


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
