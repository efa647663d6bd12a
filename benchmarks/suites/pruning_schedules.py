"""Does it pay to prune in steps, or to train for sparsity first? The same network, budget and epochs each way, on digits.

python benchmarks/suites/pruning_schedules.py --seeds 5

A small convolutional network learns scikit-learn's digits, of which only three in ten are for training, so that
there are enough left to tell the ways apart. Every line is a mean over runs that differ in their seed alone, with
its standard error.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import statistics
import sys
from collections.abc import Mapping
from typing import Literal

import click
import torch
from torch import nn

from edgepress import compress, cost
from edgepress.accuracy import evaluate
from edgepress.cli._console import print_table, progress_bar
from edgepress.compress.distill import Distill
from edgepress.compress.fine_tune import FineTune
from edgepress.compress.prune_channels import PruneChannels
from edgepress.compress.prune_channels_gradually import PruneChannelsGradually
from edgepress.compress.sparsify import Sparsify
from edgepress.data import Data, DataOptions, open_data
from edgepress.history import History
from edgepress.preprocess import Preprocess
from edgepress.program import Program
from edgepress.recipe import Recipe
from edgepress.stage import Stage

STEPS = 4
"""Of gradual pruning, whatever the epochs."""

Ways = Mapping[str, tuple[Stage, ...]]


def main() -> bool:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3, help="runs of each way [default: 3]")
    parser.add_argument("--macs", type=float, default=0.03, help="budget of the steps [default: 0.03]")
    parser.add_argument("--epochs", type=int, default=24, help="of training in each way [default: 24]")
    given = parser.parse_args()
    data = open_data("digits", DataOptions(train_share=0.3))
    original = trained(data)
    click.echo(f"original: {accuracy(original, data):.2f} %, {cost.measure(original).macs:,} MACs")
    for title, ways in (
        (f"{given.macs:g} of the MACs, {given.epochs} epochs in all", steps(given.macs, given.epochs)),
        ("half of the MACs, before any tuning", sparsity(0.5, given.epochs)),
    ):
        rows = [[name, *measured(original, data, stages, given.seeds)] for name, stages in ways.items()]
        print_table(["way", "MACs", "top-1 %", "± "], rows, title=title)
    return True


def steps(macs: float, epochs: int) -> Ways:
    """One shot, and in steps: a third of the epochs between them, or all."""
    found: dict[str, tuple[Stage, ...]] = {}
    for criterion in ("l2", "taylor"):
        prune = PruneChannels(macs=macs, criterion=criterion, round_to=2, max_ratio=0.95)
        found[f"{criterion}: one shot"] = (prune, tuning(epochs))
        found[f"{criterion}: {STEPS} steps, a third of the epochs between"] = (
            gradual(prune, epochs // 3),
            tuning(epochs - epochs // 3),
        )
        found[f"{criterion}: {STEPS} steps, all epochs between"] = (gradual(prune, epochs),)
        found[f"{criterion}: {STEPS} steps, all epochs between, regrow"] = (
            gradual(prune, epochs, regrow=True),
        )
    return found


def sparsity(macs: float, epochs: int) -> Ways:
    """Pruning by batch-norm scales and by filters: at once, after training, and after training with a penalty."""
    found: dict[str, tuple[Stage, ...]] = {}
    penalties: tuple[tuple[Literal["bn_scale", "group_lasso"], str, float], ...] = (
        ("bn_scale", "bn_scale", 1e-2),
        ("group_lasso", "l2", 1e-4),
    )
    for penalty, criterion, strength in penalties:
        prune = PruneChannels(macs=macs, criterion=criterion, round_to=4)
        sparse = Sparsify(penalty=penalty, strength=strength, **dataclasses.asdict(tuning(epochs)))
        found[f"{criterion}: pruned"] = (prune,)
        found[f"{criterion}: distilled {epochs} epochs, pruned"] = (tuning(epochs), prune)
        found[f"{criterion}: sparsify {penalty} {epochs} epochs, pruned"] = (sparse, prune)
    return found


def gradual(prune: PruneChannels, epochs: int, *, regrow: bool = False) -> PruneChannelsGradually:
    options = dataclasses.asdict(prune)
    return PruneChannelsGradually(steps=STEPS, tune=tuning(epochs // STEPS), regrow=regrow, **options)


def tuning(epochs: int) -> Distill:
    return Distill(epochs=epochs, learning_rate=0.05, batch_size=32, holdout=0)


def trained(data: Data) -> Program:
    """The network that every way starts from; training it is no compression."""
    torch.manual_seed(0)
    preprocess = Preprocess(size=(16, 16), mean=(0.5,), std=(0.5,), channel_order="L")
    untrained = Program.capture(network(), (torch.zeros(2, 1, 16, 16),), preprocess=preprocess)
    training = FineTune(epochs=30, learning_rate=0.1, batch_size=32, holdout=0)
    with progress_bar() as progress:
        program = compress.apply(untrained, Recipe((training,)), data, progress=progress)
    return dataclasses.replace(program, history=History())


def network() -> nn.Module:
    """Five 3 x 3 convolutions with batch-norm: N x 1 x 16 x 16 to N x 10."""
    layers: list[nn.Module] = []
    inputs = 1
    for outputs, stride in ((16, 1), (32, 2), (32, 1), (64, 2), (64, 1)):
        layers += [nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
        inputs = outputs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, 10))


def measured(original: Program, data: Data, stages: tuple[Stage, ...], seeds: int) -> list[str]:
    """Share of the MACs, mean accuracy and its standard error, as text."""
    found, share = [], 0.0
    for seed in range(seeds):
        with progress_bar() as progress:
            program = compress.apply(original, Recipe(stages), data, progress=progress, seed=seed)
        found.append(accuracy(program, data))
        share = cost.measure(program).macs / cost.measure(original).macs
    error = statistics.stdev(found) / math.sqrt(seeds) if seeds > 1 else math.nan
    return [f"{share:.3f}", f"{statistics.mean(found):.2f}", f"{error:.2f}"]


def accuracy(program: Program, data: Data) -> float:
    return evaluate(program.run, data, program.preprocess).percent


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
