"""How much memory quantizing takes above the network and the pictures themselves, with 1,000 calibration pictures of 224x224.

python benchmarks/suites/calibration_memory.py

Nothing depends on what the pictures show: they are noise, and so are the weights. SqueezeNet's first feature maps are
the largest of the zoo's.
"""

from __future__ import annotations

import sys

import click
import torch
from _noise import noise  # type: ignore[import-not-found]  # beside this script
from _suite import check  # type: ignore[import-not-found]  # the same

from edgepress import compress
from edgepress.benchmarks._memory import PeakMemory
from edgepress.compress.quantize_static import QuantizeStatic
from edgepress.models.squeezenet import squeezenet1_0
from edgepress.program import Program
from edgepress.recipe import Recipe

PICTURES = 1000
SIZE = 224
LARGEST_RISE_MB = 1000


def main() -> bool:
    torch.manual_seed(0)
    program = Program.capture(squeezenet1_0(), (torch.zeros(2, 3, SIZE, SIZE),))
    pictures = noise((3, SIZE, SIZE), PICTURES)
    memory = PeakMemory()
    result = compress.apply(program, Recipe((QuantizeStatic(samples=PICTURES),)), pictures)
    rise_mb = memory.rise_mb()
    if rise_mb is None:
        click.echo("peak memory cannot be read here: it takes Linux with glibc")
        return True
    click.echo(f"{result.precision}: {PICTURES} pictures of {SIZE}x{SIZE}")
    holds: bool = check("MB above network and pictures", rise_mb, LARGEST_RISE_MB)
    return holds


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
