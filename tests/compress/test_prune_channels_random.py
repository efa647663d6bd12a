"""Properties of pruning that hold for any network, on random ones: every seed is another."""

from __future__ import annotations

from pathlib import Path
from random import Random

import numpy as np
import pytest
import random_networks
from planted_channels import assert_dead_channels_go

from edgepress import convert, cost, runtime
from edgepress.compress.prune_channels import PruneChannels, rewrite
from edgepress.program import Program
from edgepress.stage import Context


@pytest.mark.parametrize(
    "seed", [*range(12), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(12, 300))]
)
def test_dead_channels_go_without_a_trace(seed: int) -> None:
    program = _captured(seed)
    pruned, plan = assert_dead_channels_go(program, seed=seed)
    measured = cost.measure(pruned)
    assert (measured.macs, measured.parameters) == (plan.macs_after, plan.parameters_after)


@pytest.mark.parametrize(
    "seed", [*range(300, 306), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(306, 400))]
)
def test_a_plan_for_a_budget_costs_what_it_says(seed: int, tmp_path: Path) -> None:
    """Every tenth network goes to ONNX as well, and does the same there."""
    program, random = _captured(seed), Random(seed)
    share = random.uniform(0.6, 0.9)
    stage = PruneChannels(macs=share, round_to=random.choice((1, 2, 4)), max_ratio=1.0)
    plan = stage.plan(program, Context(original=program, load_model=lambda name: program))
    pruned = rewrite(program, plan)
    measured = cost.measure(pruned)
    assert (measured.macs, measured.parameters) == (plan.macs_after, plan.parameters_after)
    assert measured.macs <= share * cost.measure(program).macs
    if seed % 10 == 0:
        inputs = program.signature.example(2)
        with runtime.open(convert.to(pruned, "onnx", tmp_path / "pruned.onnx")) as runner:
            for found, expected in zip(runner.run(*inputs), pruned.run(*inputs), strict=True):
                # Float32 in other kernels, through a dozen layers.
                np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


def _captured(seed: int) -> Program:
    module, inputs = random_networks.build(seed)
    return Program.capture(module, inputs)
