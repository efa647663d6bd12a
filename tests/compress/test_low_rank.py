"""Low-rank factorization: exact where a layer's response has few directions, within its budget, and plain where it cannot help."""

from __future__ import annotations

import numpy as np
import pytest
import tiny_networks
import torch
from torch import nn

from edgepress import compress, cost
from edgepress.compress.low_rank import LowRank
from edgepress.errors import BudgetMissed, UnsupportedModel
from edgepress.program import Program
from edgepress.recipe import Recipe
from edgepress.rules import Rule, Rules

CHANNELS, RANK = 32, 8


class Flat(nn.Module):
    """A convolution and a linear layer whose responses have `RANK` directions, and a grouped one that stays."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, CHANNELS, 3, padding=1, stride=2)
        self.grouped = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, groups=2)
        self.deep = nn.Conv2d(CHANNELS, CHANNELS, 3, padding="same", bias=False)
        self.fc = nn.Linear(CHANNELS, 64)
        for layer in (self.deep, self.fc):
            rows = layer.weight.detach().flatten(1)
            mixed = torch.randn(len(rows), RANK) @ rows[:RANK] / RANK
            layer.weight = nn.Parameter(mixed.reshape(layer.weight.shape))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.grouped(torch.relu(self.conv(x))))
        return self.fc(torch.relu(self.deep(x)).mean((2, 3)))


@pytest.fixture(scope="module")
def program() -> Program:
    torch.manual_seed(0)
    return Program.capture(Flat(), (torch.zeros(2, 3, 16, 16),))


@pytest.fixture(scope="module")
def data() -> tiny_networks.Patches:
    return tiny_networks.Patches(64)


@pytest.mark.parametrize("with_data", [True, False])
def test_a_response_of_few_directions_is_kept_whole(
    program: Program, data: tiny_networks.Patches, with_data: bool
) -> None:
    # The budget at which exactly the layers of few directions are replaced, at just their rank.
    stage = LowRank(macs=0.62, round_to=RANK)
    smaller = compress.apply(program, Recipe((stage,)), data if with_data else None)
    ranks = smaller.history.steps[-1].results["ranks"]
    assert ranks["deep"] == RANK
    (expected,), (found,) = program.run(data.pictures), smaller.run(data.pictures)
    # Of float32 products in another order.
    np.testing.assert_allclose(found, expected, atol=2e-5)
    assert cost.measure(smaller).macs <= 0.62 * cost.measure(program).macs


def test_what_stays_whole(program: Program, data: tiny_networks.Patches) -> None:
    rules = Rules((Rule(layer="deep", skip=True),))
    smaller = compress.apply(program, Recipe((LowRank(macs=0.98),), rules), data)
    assert set(smaller.history.steps[-1].results["ranks"]) <= {"conv", "fc"}


def test_data_knows_better_than_weights(data: tiny_networks.Patches) -> None:
    program = tiny_networks.capture(tiny_networks.Residual)
    (expected,) = program.run(data.pictures)
    errors = [
        float(np.square(compress.apply(program, Recipe((LowRank(macs=0.8),)), given).run(data.pictures)[0] - expected).sum())
        for given in (data, None)
    ]  # fmt: skip
    assert errors[0] < errors[1]


def test_factorized_twice(program: Program, data: tiny_networks.Patches) -> None:
    twice = compress.apply(
        program, Recipe((LowRank(macs=0.8, round_to=4), LowRank(macs=0.8, round_to=4))), data
    )
    assert cost.measure(twice).macs <= 0.64 * cost.measure(program).macs


def test_a_budget_out_of_reach_says_what_is_not(program: Program) -> None:
    with pytest.raises(BudgetMissed, match="smallest ranks leave 0"):
        compress.apply(program, Recipe((LowRank(macs=0.01),)))


def test_a_budget_that_nothing_comes_near_is_not_advised() -> None:
    """A layer that is used twice stays whole, and has nearly all multiply-accumulates."""
    torch.manual_seed(0)
    twice = nn.Linear(256, 256)
    network = nn.Sequential(twice, nn.ReLU(), twice, nn.Linear(256, 9))
    program = Program.capture(network, (torch.zeros(2, 256),))
    with pytest.raises(BudgetMissed, match="smallest ranks leave 1.00") as caught:
        compress.apply(program, Recipe((LowRank(),)))
    assert "macs=1" not in caught.value.hint


def test_a_network_without_a_layer_for_two() -> None:
    program = Program.capture(nn.Conv2d(4, 4, 3), (torch.zeros(2, 4, 8, 8),))
    with pytest.raises(UnsupportedModel, match="cheaper as two"):
        compress.apply(program, Recipe((LowRank(),)))
