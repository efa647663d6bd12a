"""The stage: budgets, rounding, criteria, rules, the printed plan, and every way in which it refuses."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from awkward_networks import NETWORKS
from torch import nn

from edgepress import compress, cost, graph
from edgepress.compress._channels.importance import CRITERIA
from edgepress.compress.prune_channels import PruneChannels, plan_exactly, rewrite
from edgepress.data import Data
from edgepress.data._arrays import ArrayData
from edgepress.errors import BadOption, BudgetMissed, UnknownName, UnsupportedModel
from edgepress.program import Program
from edgepress.recipe import Recipe
from edgepress.rules import Rule, Rules
from edgepress.stage import Context


def noise() -> ArrayData:
    """Labelled noise of twice the usual spread, so that batch-norm statistics have something to correct."""
    random = np.random.default_rng(0)
    pictures = 2 * random.standard_normal((64, 3, 8, 8)).astype(np.float32)
    return ArrayData(pictures, labels=random.integers(0, 4, 64))


def _network() -> nn.Module:
    def block(inputs: int, outputs: int) -> list[nn.Module]:
        return [nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU()]

    layers = [*block(3, 32), *block(32, 48), *block(48, 64)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 4))


@pytest.fixture
def program() -> Program:
    return Program.capture(_network(), (torch.randn(2, 3, 8, 8),))


def _context(program: Program, data: Data | None = None, rules: tuple[Rule, ...] = ()) -> Context:
    return Context(original=program, load_model=lambda name: program, data=data, rules=Rules(rules))


@pytest.mark.parametrize("scope", ["global", "uniform"])
@pytest.mark.parametrize("share", [0.3, 0.5, 0.8])
def test_the_budget_is_met_closely_with_aligned_channels(program: Program, scope: str, share: float) -> None:
    stage = PruneChannels(macs=share, scope=scope, round_to=4)
    outcome = stage.apply(program, _context(program))
    measured = cost.measure(outcome.program)
    # The coarsest step here, 4 of the 48 channels, is 8 % of the network.
    assert share - 0.1 < measured.macs / cost.measure(program).macs <= share
    assert outcome.results["macs"] == measured.macs
    assert outcome.results["parameters"] == measured.parameters
    assert all(after % 4 == 0 for _, after in list(outcome.results["channels"].values())[:-1])


def test_parameters_are_a_budget_of_their_own(program: Program) -> None:
    pruned = PruneChannels(parameters=0.4).apply(program, _context(program)).program
    assert cost.measure(pruned).parameters <= 0.4 * cost.measure(program).parameters


def test_the_share_is_of_the_original_network(program: Program) -> None:
    once = PruneChannels(macs=0.7).apply(program, _context(program)).program
    twice = PruneChannels(macs=0.4).apply(once, _context(program)).program
    assert 0.3 < cost.measure(twice).macs / cost.measure(program).macs <= 0.4
    with pytest.raises(BadOption, match="already meets this budget"):
        PruneChannels(macs=0.8).plan(once, _context(program))


@pytest.mark.parametrize("criterion", sorted(set(CRITERIA) - {"random"}))
def test_each_criterion_removes_the_channels_that_do_nothing(program: Program, criterion: str) -> None:
    module = program.graph_module()
    with torch.no_grad():
        for name, value in module.named_parameters():
            if name.startswith(("0.", "1.")):
                value[::2] = 0
    weak = program.replace(module)
    stage = PruneChannels(macs=0.9, criterion=criterion, batch_size=16)
    first, *_ = stage.plan(weak, _context(weak, noise())).layers
    assert first.removed
    assert all(channel % 2 == 0 for channel in first.removed)


def test_a_rule_leaves_a_layer_alone_or_gives_it_other_options(program: Program) -> None:
    rules = (
        Rule(layer="0", skip=True),
        Rule(layer="3", stage="prune_channels", options={"min_channels": 40}),
        Rule(layer="6", options={"round_to": 5}),
    )
    first, second, third, _ = PruneChannels(macs=0.7).plan(program, _context(program, rules=rules)).layers
    assert not first.removed
    assert first.reason == "a rule leaves 0 alone"
    assert second.outputs_after >= 40
    assert third.outputs_after % 5 == 0


def test_limits_of_a_single_layer_hold(program: Program) -> None:
    plan = PruneChannels(macs=0.45, max_ratio=0.5).plan(program, _context(program))
    assert all(layer.outputs_after >= math.ceil(layer.outputs / 2) for layer in plan.layers)


def test_the_limit_of_a_layer_is_of_the_original_however_often_it_is_pruned(program: Program) -> None:
    once = PruneChannels(macs=0.6, max_ratio=0.5).apply(program, _context(program)).program
    with pytest.raises(BudgetMissed):
        PruneChannels(macs=0.24, max_ratio=0.5).plan(once, _context(program))
    again = PruneChannels(macs=0.24 / 0.6, max_ratio=0.5).plan(once, _context(once))
    assert any(layer.outputs_after < 24 for layer in again.layers[:2])


def test_the_plan_prints_every_layer_and_announces_itself(program: Program) -> None:
    told: list[str] = []
    context = Context(original=program, load_model=lambda name: program, announce=told.append)
    PruneChannels(macs=0.5).apply(program, context)
    (text,) = told
    lines = text.splitlines()
    assert len(lines) == 1 + 4 + 3
    assert "its channels are the network's output" in lines[4]
    assert "->" in text
    assert "multiply-accumulates" in lines[5]
    assert "bytes of weights" in lines[7]


def test_two_prunes_leave_fewer_heads_that_are_narrower_too() -> None:
    program = Program.capture(*NETWORKS["separate_heads"]())
    heads = PruneChannels(ratio=0.4, parts="whole", round_to=1)
    places = PruneChannels(ratio=0.25, parts="within", round_to=1)
    pruned = compress.apply(program, Recipe((heads, places)))
    shapes = {name: tuple(value.shape) for name, value in pruned.exported.state_dict.items()}
    # Two of three heads stay, and of each three of four places.
    assert {shapes[f"{name}.weight"] for name in ("query", "key", "value")} == {(2 * 3, 12)}
    assert shapes["out.weight"] == (12, 2 * 3)
    nodes = graph.operators(pruned.graph_module())
    views = [graph.shape(node)[1:] for node in nodes if graph.op_name(node) in ("view", "reshape")]
    assert views.count((6, 2, 3)) == 3


@pytest.mark.parametrize(
    ("parts", "first"), [("auto", "8 -> 5 groups"), ("within", "8 -> 5 in each of its 8 groups")]
)
def test_the_plan_says_what_grouped_convolutions_lose(parts: str, first: str) -> None:
    """Two ResNeXt blocks, of eight and of four groups, at half of the multiply-accumulates."""

    class Block(nn.Module):
        def __init__(self, inputs: int, groups: int) -> None:
            super().__init__()
            self.narrow, self.wide = nn.Conv2d(inputs, 64, 1), nn.Conv2d(64, 128, 1)
            self.grouped = nn.Conv2d(64, 64, 3, padding=1, groups=groups)
            self.passed = nn.Conv2d(inputs, 128, 1) if inputs != 128 else nn.Identity()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = torch.relu(self.grouped(torch.relu(self.narrow(x))))
            return torch.relu(self.passed(x) + self.wide(y))

    torch.manual_seed(0)
    module = nn.Sequential(
        Block(3, 8), Block(128, 4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 4)
    )
    program = Program.capture(module, (torch.randn(2, 3, 8, 8),))
    stage = PruneChannels(macs=0.5, parts=parts, scope="uniform")
    plan = stage.plan(program, _context(program))
    notes = {layer.name: layer.groups for layer in plan.layers if layer.groups}
    assert notes == {"0.grouped": first, "1.grouped": "16 -> 10 in each of its 4 groups"}
    assert f"as 0.narrow, {first}\n" in str(plan) or f"  {first}\n" in str(plan)
    pruned = stage.carry_out(program, plan, _context(program)).program
    assert 0.4 < cost.measure(pruned).macs / cost.measure(program).macs <= 0.5


def test_a_recurrent_layer_is_a_row_of_the_plan() -> None:
    """Sixteen outputs are eight units in both directions: half of them go, from both levels."""
    program = Program.capture(*NETWORKS["both_ways"]())
    plan = plan_exactly(program, {"gru": [1, 3, 5, 7]})
    (gru,) = (layer for layer in plan.layers if layer.name == "gru")
    assert (gru.type, gru.inputs, gru.outputs, gru.outputs_after) == ("gru", 16, 16, 8)
    assert gru.removed == (1, 3, 5, 7, 9, 11, 13, 15)
    weights = dict(rewrite(program, plan).graph_module().named_parameters())
    assert weights["gru.weight_hh_l1_reverse"].shape == (12, 4)
    assert weights["gru.weight_ih_l1"].shape == (12, 8)


@pytest.mark.parametrize("criterion", sorted(set(CRITERIA) - {"random", "bn_scale"}))
def test_units_of_a_recurrent_layer_go_by_every_criterion(criterion: str) -> None:
    program = Program.capture(*NETWORKS["recurrent"]())
    stage = PruneChannels(ratio=0.5, round_to=1, criterion=criterion)
    outcome = stage.apply(program, _context(program, noise()))
    assert outcome.results["channels"]["lstm"] == [10, 5]
    assert outcome.program.exported.state_dict["lstm.weight_hh_l0"].shape == (20, 5)
    assert cost.measure(outcome.program).macs == outcome.results["macs"]


def test_words_that_are_looked_up_lose_channels() -> None:
    program = Program.capture(*NETWORKS["only_embedded"]())
    plan = PruneChannels(parameters=0.55).plan(program, _context(program))
    words, out = plan.layers
    assert (words.inputs, words.outputs, words.outputs_after) == (20, 16, 8)
    assert (out.inputs, out.inputs_after) == (16, 8)


def test_batch_norm_statistics_are_measured_anew_when_there_is_data(program: Program) -> None:
    stage = PruneChannels(macs=0.5, batch_size=16, reconstruct=False)
    context = _context(program, noise())
    plan = stage.plan(program, context)
    kept_statistics = rewrite(program, plan)
    corrected = stage.apply(program, context).program
    inputs = next(noise().batches("calibrate", None, batch_size=64)).inputs[0]
    first_layer = [value for name, value in corrected.exported.state_dict.items() if "0.weight" in name][0]
    before = kept_statistics.exported.state_dict["1.running_var"]
    after = corrected.exported.state_dict["1.running_var"]
    bias = corrected.exported.state_dict["0.bias"]
    made = nn.functional.conv2d(torch.from_numpy(inputs), first_layer, bias, padding=1)
    assert not torch.allclose(before, after, rtol=0.1)
    # Float32 sums in another order.
    torch.testing.assert_close(after, made.var((0, 2, 3), unbiased=False), rtol=1e-4, atol=1e-5)
    stage = PruneChannels(macs=0.5, reconstruct=False, recalibrate_batch_norm=False)
    plain = stage.apply(program, context).program
    torch.testing.assert_close(plain.exported.state_dict["1.running_var"], before)


def test_data_refits_what_the_prune_has_left(program: Program) -> None:
    stage = PruneChannels(macs=0.5, batch_size=16)
    outcome = stage.apply(program, _context(program, noise()))
    cut = rewrite(program, stage.plan(program, _context(program)))
    pictures = next(noise().batches("calibrate", None)).inputs[0]
    (wanted,), (without,), (found,) = (one.run(pictures) for one in (program, cut, outcome.program))
    assert np.square(found - wanted).mean() < 0.5 * np.square(without - wanted).mean()
    recorded = outcome.results["reconstruction"]
    assert isinstance(recorded, dict)
    assert recorded["samples"] == 64
    assert set(recorded["errors"]) == {"6", "11"}
    assert recorded["left"] == {}


def test_without_data_nothing_is_refitted_and_the_results_say_so(program: Program) -> None:
    stage = PruneChannels(macs=0.5)
    outcome = stage.apply(program, _context(program))
    assert "no data" in str(outcome.results["reconstruction"])
    cut = rewrite(program, stage.plan(program, _context(program))).exported.state_dict
    assert all(torch.equal(value, cut[name]) for name, value in outcome.program.exported.state_dict.items())


def test_exactly_the_named_channels_and_their_ties_go() -> None:
    program = Program.capture(*NETWORKS["residual"]())
    plan = plan_exactly(program, {"first.0": [3, 5]})
    assert {layer.name: layer.removed for layer in plan.layers if layer.removed} == {
        "first.0": (3, 5),
        "inner.1": (3, 5),
    }
    assert rewrite(program, plan).exported.state_dict["inner.0.0.weight"].shape == (12, 14, 3, 3)


def test_what_cannot_be_removed_by_name_is_an_error(program: Program) -> None:
    with pytest.raises(UnknownName, match="'6x'.*Did you mean '6'"):
        plan_exactly(program, {"6x": [0]})
    with pytest.raises(BadOption, match="channels 0 to 31"):
        plan_exactly(program, {"0": [32]})
    with pytest.raises(UnsupportedModel, match="network's output"):
        plan_exactly(program, {"11": [0]})
    with pytest.raises(BadOption, match="every output or input channel"):
        plan_exactly(program, {"0": list(range(32))})
    with pytest.raises(UnsupportedModel, match="No channel"):
        plan_exactly(program, {})


def test_a_budget_out_of_reach_says_what_is_in_reach(program: Program) -> None:
    with pytest.raises(BudgetMissed, match=r"can be brought to [\d,]+, 0\.\d+ of") as raised:
        PruneChannels(macs=0.01).plan(program, _context(program))
    assert raised.value.exit_code == 5
    with pytest.raises(BudgetMissed):
        PruneChannels(macs=0.01, scope="uniform").plan(program, _context(program))


def test_bn_scale_names_the_layer_that_has_no_batch_norm() -> None:
    program = Program.capture(*NETWORKS["flattened"]())
    with pytest.raises(UnsupportedModel, match="needs a batch-norm behind the layer") as raised:
        PruneChannels(macs=0.5, criterion="bn_scale").plan(program, _context(program))
    assert raised.value.where == "layer hidden"


def test_a_stage_without_a_budget_is_refused(program: Program) -> None:
    with pytest.raises(BadOption, match="needs a budget"):
        PruneChannels().check(program)


def test_a_network_with_nothing_to_prune_lists_the_reasons() -> None:
    program = Program.capture(nn.Sequential(nn.Flatten(), nn.Linear(12, 4)), (torch.randn(2, 3, 4),))
    with pytest.raises(UnsupportedModel) as raised:
        PruneChannels(macs=0.5).check(program)
    assert raised.value.exit_code == 3
    assert "1: its channels are the network's output" in str(raised.value)


def test_rules_that_leave_everything_alone_leave_nothing_to_prune(program: Program) -> None:
    with pytest.raises(UnsupportedModel, match="a rule leaves"):
        PruneChannels(macs=0.5).plan(program, _context(program, rules=(Rule(type="conv2d", skip=True),)))


def test_a_write_into_a_part_that_is_read_later_is_refused() -> None:
    class Writes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 8, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.conv(x)
            x[:, :4].relu_()
            return x.mean((2, 3))

    with pytest.raises(UnsupportedModel, match="writes in place into part"):
        PruneChannels(macs=0.5).check(Program.capture(Writes(), (torch.randn(2, 3, 8, 8),)))


def test_a_pruned_network_is_saved_loaded_and_trained(program: Program, tmp_path) -> None:
    pruned = PruneChannels(macs=0.5).apply(program, _context(program)).program
    pruned.save(tmp_path / "pruned.pt2")
    loaded = Program.load(tmp_path / "pruned.pt2")
    inputs = program.signature.example(3)
    np.testing.assert_array_equal(pruned.run(*inputs)[0], loaded.run(*inputs)[0])
    module = loaded.module().train()
    nn.functional.cross_entropy(module(torch.from_numpy(inputs[0])), torch.tensor([0, 1, 2])).backward()
    assert all(parameter.grad is not None for parameter in module.parameters())
