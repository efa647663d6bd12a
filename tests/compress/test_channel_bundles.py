"""Ratios for the whole network and for single layers, and who follows whom."""

from __future__ import annotations

import functools

import pytest
import torch
from awkward_networks import NETWORKS
from torch import nn

from edgepress import compress, cost
from edgepress.compress.prune_channels import Plan, PruneChannels
from edgepress.errors import BadOption, UnsupportedModel
from edgepress.program import Program
from edgepress.recipe import Recipe
from edgepress.rules import Rule, Rules
from edgepress.stage import Context


class Separable(nn.Module):
    """A chain with a depthwise layer in it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 32, 3)
        self.depthwise = nn.Conv2d(32, 32, 3, groups=32)
        self.wide = nn.Conv2d(32, 40, 1)
        self.head = nn.Linear(40, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.relu(self.wide(torch.relu(self.depthwise(self.stem(x))))).mean((2, 3)))


@functools.cache
def separable() -> Program:
    torch.manual_seed(0)
    return Program.capture(Separable(), (torch.randn(2, 3, 8, 8),))


@functools.cache
def residual() -> Program:
    """`first.0` makes 16 channels to which `inner.1` adds its own; `inner.0.0` between has 12."""
    return Program.capture(*NETWORKS["residual"]())


def plan(program: Program, stage: PruneChannels, **ratios: float) -> Plan:
    rules = (Rule(layer=name, options={"ratio": ratio}) for name, ratio in ratios.items())
    return stage.plan(
        program, Context(original=program, load_model=lambda name: program, rules=Rules(tuple(rules)))
    )


def kept(found: Plan) -> dict[str, int]:
    return {layer.name: layer.outputs_after for layer in found.layers}


@pytest.mark.parametrize("criterion", ["l2", "random"])
def test_a_ratio_takes_the_same_share_everywhere(criterion: str) -> None:
    found = kept(plan(separable(), PruneChannels(ratio=0.5, criterion=criterion, round_to=4)))
    assert found == {"stem": 16, "depthwise": 16, "wide": 20, "head": 4}


def test_a_ratio_is_rounded_to_the_next_multiple_and_never_to_nothing() -> None:
    # A tenth of 32 and of 40 channels leaves 28.8 and 36; 32 and 32 are the multiples next to them.
    found = plan(separable(), PruneChannels(ratio=0.1))
    assert kept(found) == {"stem": 32, "depthwise": 32, "wide": 32, "head": 4}
    assert found.layers[0].reason == "10% of its 32 channels is none, rounded to multiples of 8"
    assert kept(plan(separable(), PruneChannels(ratio=0.99)))["stem"] == 8


def test_a_rule_decides_for_its_layer_and_the_budget_about_the_others() -> None:
    found = plan(separable(), PruneChannels(macs=0.3, round_to=1), wide=0.1)
    assert kept(found)["wide"] == 36
    assert found.macs_after <= 0.3 * found.macs
    assert kept(found)["stem"] < 32


@pytest.mark.parametrize("scope", ["global", "uniform"])
def test_a_ratio_overrules_the_limit_of_every_layer_but_not_its_least_channels(scope: str) -> None:
    stage = PruneChannels(macs=0.9, max_ratio=0.25, min_channels=6, round_to=1, scope=scope)
    found = kept(plan(separable(), stage, wide=0.8))
    assert found["wide"] == 8
    assert found["stem"] >= 24
    assert kept(plan(separable(), stage, wide=0.95))["wide"] == 6


def test_a_ratio_stops_at_the_least_channels_and_says_so() -> None:
    found = plan(separable(), PruneChannels(ratio=0.5, min_channels=33, round_to=1))
    assert kept(found) == {"stem": 32, "depthwise": 32, "wide": 33, "head": 4}
    assert found.layers[0].reason == "16 channels would be fewer than the 32 that must stay"


@pytest.mark.parametrize("name", ["first.0", "inner.1"])
def test_tied_layers_follow_the_one_that_has_a_rule(name: str) -> None:
    found = kept(plan(residual(), PruneChannels(ratio=0.25, round_to=1), **{name: 0.5}))
    assert (found["first.0"], found["inner.1"], found["inner.0.0"]) == (8, 8, 9)


def test_makers_follow_a_depthwise_layer_that_has_a_rule() -> None:
    found = plan(separable(), PruneChannels(macs=0.95), depthwise=0.5)
    assert kept(found)["stem"] == kept(found)["depthwise"] == 16
    assert "as stem" in str(found)


def test_rules_that_contradict_one_another_name_both_layers() -> None:
    with pytest.raises(BadOption) as raised:
        plan(residual(), PruneChannels(macs=0.5), **{"first.0": 0.5, "inner.1": 0.25})
    assert "first.0: ratio=0.5; inner.1: ratio=0.25" in raised.value.where
    agreeing = kept(plan(residual(), PruneChannels(macs=0.9), **{"first.0": 0.5, "inner.1": 0.5}))
    assert agreeing["first.0"] == 8


def test_a_ratio_and_a_budget_exclude_each_other() -> None:
    with pytest.raises(BadOption, match="macs and ratio both set how much is removed"):
        compress.check(separable(), Recipe((PruneChannels(macs=0.5, ratio=0.5),)), None)


@pytest.mark.parametrize("ratio", [0, 1, 1.5, -0.1])
def test_a_ratio_outside_of_0_and_1_is_refused(ratio: float) -> None:
    with pytest.raises(BadOption, match="ratio="):
        compress.check(separable(), Recipe((PruneChannels(ratio=ratio),)), None)
    rules = Rules((Rule(layer="wide", options={"ratio": ratio}),))
    with pytest.raises(BadOption, match="ratio="):
        compress.check(separable(), Recipe((PruneChannels(macs=0.5),), rules), None)


def test_a_ratio_that_rounds_to_nothing_everywhere_says_so() -> None:
    with pytest.raises(
        UnsupportedModel, match="inner.1: 2% of its 16 channels is none, rounded to multiples of 16"
    ):
        plan(residual(), PruneChannels(ratio=0.02, round_to=16))


def test_a_size_in_bytes_is_met_and_measured() -> None:
    program = separable()
    most = cost.measure(program).weight_bytes // 2
    made = compress.apply(program, Recipe((PruneChannels(size_bytes=most, round_to=1),)))
    measured = cost.measure(made).weight_bytes
    assert 0.9 * most < measured <= most
    assert made.history.steps[-1].results["weight_bytes"] == measured
