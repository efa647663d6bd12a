"""What few bits cost a network that is quantized, and what quantization-aware training gives back, on real digits.

python benchmarks/suites/quantization_aware.py

The digits come with scikit-learn, and all is trained here: minutes of one core. Both columns have the very same steps to
begin with: the least error of weights and of calibration values.
"""

from __future__ import annotations

import dataclasses
import sys

import torch
from _suite import arguments, check  # type: ignore[import-not-found]  # beside this script, not in the package
from torch import nn

from edgepress import compress, models
from edgepress.accuracy import evaluate
from edgepress.cli._console import print_table, remark
from edgepress.compress.fine_tune import FineTune
from edgepress.compress.quantize_aware import QuantizeAware
from edgepress.data import Data, open_data
from edgepress.history import History
from edgepress.preprocess import Preprocess
from edgepress.program import Program
from edgepress.recipe import Recipe
from edgepress.stage import Context

SEEDS = (0, 1, 2)
BITS = (8, 4, 3, 2)
"""Of weights and of activations, the first and last layers included."""

SHORTEST = 2
SMALLEST_REGAINED_SHARE = 0.9
LARGEST_DROP_POINTS = {8: 0.5, 4: 0.5, 3: 1.0}
"""A picture is 0.28 points; three bits were measured to lose two of 359."""


def main() -> bool:
    given = arguments(__doc__ or "")
    data = open_data("digits")
    rows, claims = [], []
    lost: dict[int, list[tuple[float, float]]] = {bits: [] for bits in BITS}
    for seed in SEEDS:
        program = trained(data, seed)
        whole = top1(program, data, given.evaluate)
        remark(f"seed {seed}: float {whole:.2f} %")
        for bits in BITS:
            stage = QuantizeAware(
                weight_bits=bits, activation_bits=bits, low_ends=True, epochs=6, batch_size=32, holdout=0
            )
            before = top1(calibrated_alone(program, stage, data), data, given.evaluate)
            made = compress.apply(program, Recipe((stage,)), data, seed=seed)
            after = top1(made, data, given.evaluate)
            lost[bits].append((whole - before, whole - after))
            rows.append([f"{seed}", f"{bits}/{bits}", f"{whole:.2f}", f"{before:.2f}", f"{after:.2f}"])
    print_table(["seed", "bits", "float, %", "calibrated, %", "trained, %"], rows)
    drops = {bits: [sum(column) / len(SEEDS) for column in zip(*lost[bits], strict=True)] for bits in BITS}
    for bits, limit in LARGEST_DROP_POINTS.items():
        claims.append(check(f"{bits}/{bits}: mean top-1 points lost after training", drops[bits][1], limit))
    before, after = drops[SHORTEST]
    share = (before - after) / before
    claim = f"{SHORTEST}/{SHORTEST}: share of the {before:.1f} points lost that training regains"
    claims.append(check(claim, share, SMALLEST_REGAINED_SHARE, at_most=False))
    return all(claims)


def trained(data: Data, seed: int) -> Program:
    """A small convolutional network that reads digits."""
    torch.manual_seed(seed)
    network = nn.Sequential(
        *_block(3, 16), *_block(16, 24, stride=2), *_block(24, 32), *_block(32, 32),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10),
    )  # fmt: skip
    preprocess = Preprocess(size=(8, 8), mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    untrained = Program.capture(network, (torch.zeros(2, 3, 8, 8),), preprocess=preprocess)
    training = FineTune(epochs=8, optimizer="adamw", learning_rate=4e-3, batch_size=32, holdout=0)
    return dataclasses.replace(
        compress.apply(untrained, Recipe((training,)), data, seed=seed), history=History()
    )


def calibrated_alone(program: Program, stage: QuantizeAware, data: Data) -> Program:
    """Where the training starts: the same bits and steps, without any training."""
    found, fake, _ = stage.begin(program, Context(original=program, load_model=models.load, data=data))
    fake.finish()
    return program.replace(found.graph_module)


def top1(program: Program, data: Data, limit: int | None) -> float:
    return evaluate(program.run, data, program.preprocess, limit=limit).percent


def _block(inputs: int, outputs: int, stride: int = 1) -> tuple[nn.Module, ...]:
    convolution = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
    return convolution, nn.BatchNorm2d(outputs), nn.ReLU()


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
