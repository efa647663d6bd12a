"""Leaving whole layers out."""

from __future__ import annotations

import numpy as np
import pytest
import shared_data
import tiny_networks
import torch
from torch import nn

from edgepress import compress
from edgepress.accuracy import evaluate
from edgepress.compress.prune_layers import PruneLayers
from edgepress.errors import BudgetMissed, UnsupportedModel
from edgepress.program import Program
from edgepress.recipe import Recipe
from edgepress.rules import Rule, Rules

DATA = tiny_networks.Patches()


class Blocks(nn.Module):
    """Three residual blocks of one shape, of which the second adds next to nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=2)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Conv2d(8, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 8, 1))
            for _ in range(3)
        )
        with torch.no_grad():
            self.blocks[1][3].weight *= 1e-4
            self.blocks[1][3].bias.zero_()
        self.head = nn.Linear(8, 4)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        features = self.stem(pictures)
        for block in self.blocks:
            features += block(features)
        return self.head(features.mean([2, 3]))


class LinearBranch(nn.Module):
    """What the branch adds, the layer behind can make of the shortcut alone."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.branch = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 1)
        self.head = nn.Conv2d(8, 4, 1)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        features = self.stem(pictures)
        return self.head(features + self.branch(features)).mean([2, 3])


def apply(program: Program, stage: PruneLayers, rules: Rules = Rules()) -> Program:
    return compress.apply(program, Recipe((stage,), rules), DATA)


def left_out(program: Program) -> object:
    return program.history.steps[-1].results["left_out"]


def test_what_adds_least_goes_and_its_weights_with_it() -> None:
    program = tiny_networks.capture(Blocks)
    done = apply(program, PruneLayers(macs=0.7, reconstruct=False))
    assert left_out(done) == ["blocks.1.0", "blocks.1.3"]
    assert {name for name in done.exported.state_dict if "blocks.1" in name} == set()
    inputs = program.signature.example(4)
    # The branch that went gave a ten-thousandth of what the others gave.
    np.testing.assert_allclose(done.run(*inputs)[0], program.run(*inputs)[0], atol=1e-3)


def test_a_rule_keeps_a_layer_and_the_sum_that_it_is_part_of() -> None:
    rules = Rules((Rule(layer="blocks.1.3", skip=True),))
    done = apply(tiny_networks.capture(Blocks), PruneLayers(macs=0.7), rules)
    assert left_out(done) in (["blocks.0.0", "blocks.0.3"], ["blocks.2.0", "blocks.2.3"])


def test_rules_can_keep_too_much() -> None:
    with pytest.raises(BudgetMissed, match="leaves 1 of") as raised:
        apply(tiny_networks.capture(Blocks), PruneLayers(macs=0.7), Rules((Rule(type="add_", skip=True),)))
    assert raised.value.hint.startswith("--prune")


def test_the_layer_behind_makes_up_for_what_went() -> None:
    program = tiny_networks.capture(LinearBranch)
    inputs = program.signature.example(8)
    wanted = program.run(*inputs)[0]
    alone = apply(program, PruneLayers(macs=0.9, reconstruct=False))
    fitted = apply(program, PruneLayers(macs=0.9))
    assert left_out(fitted) == ["branch"]
    assert np.abs(alone.run(*inputs)[0] - wanted).max() > 0.05
    # The ridge of the fit, a thousandth of an input's square, is all that keeps it from being exact.
    np.testing.assert_allclose(fitted.run(*inputs)[0], wanted, atol=5e-3)


def test_no_more_goes_than_the_budget_needs() -> None:
    program = tiny_networks.capture(Blocks)
    done = apply(program, PruneLayers(macs=0.4))
    results = done.history.steps[-1].results
    layers = results["left_out"]
    assert isinstance(layers, list)
    assert len(layers) == 4, "two of the three blocks, and not the third"


def test_a_plain_layer_is_passed_by() -> None:
    done = apply(tiny_networks.capture(tiny_networks.Concatenated), PruneLayers(macs=0.9))
    assert set(left_out(done)) <= {"left", "right"}  # type: ignore[call-overload]  # a list, as a history holds it


def test_a_network_without_such_layers_is_refused() -> None:
    with pytest.raises(UnsupportedModel, match="No layer can be left out"):
        apply(tiny_networks.capture(tiny_networks.Separable), PruneLayers())


def test_a_budget_out_of_reach_names_what_can_be_reached() -> None:
    with pytest.raises(BudgetMissed, match="leaves 0.") as raised:
        apply(tiny_networks.capture(Blocks), PruneLayers(macs=0.01))
    assert raised.value.hint.startswith("macs=0.")


@pytest.mark.slow
def test_a_trained_resnet_without_two_of_its_nine_blocks() -> None:
    """88.7 % on all pictures; without labels or training a fifth of the operations costs less than three points."""
    program, data = shared_data.resnet20(), shared_data.cifar10()
    done = compress.apply(program, Recipe((PruneLayers(macs=0.8),)), data)
    before, after = (
        evaluate(each.run, data, program.preprocess, limit=1000).top1 for each in (program, done)
    )
    assert after > before - 3
