"""Pruning to a share of the measured latency: the table's model, the rounds, and what is on record, with a stopwatch
whose networks take a known time; and once with a real runtime."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import tiny_networks
import torch
from torch import nn

from edgepress import compress, cost, models, options
from edgepress.compress._channels.latency import RelativeLatency, layer_costs
from edgepress.compress._channels.latency_rounds import TOLERANCE
from edgepress.compress._channels.plan import classes_kept
from edgepress.compress._channels.structure import Structure, read_structure
from edgepress.compress.prune_channels import LatencyBudget, PruneChannels, rewrite
from edgepress.errors import BadOption, BudgetMissed, UsageError
from edgepress.latency._layer_probe import output_channels
from edgepress.program import Program
from edgepress.progress import Progress, silent
from edgepress.recipe import Recipe
from edgepress.rules import Rule, Rules
from edgepress.stage import Context
from edgepress.stopwatch import LatencyRatio, LayerShape

MS_PER_MAC, MS_PER_OUTPUT, INVOKE_MS = 1e-6, 1e-5, 0.02


class Clockwork:
    """A stopwatch whose layers and networks take a time that is a formula of their shapes.

    A network takes a tenth more than its layers, which is never saved, and what its layers save counts
    `gain` times: the table is wrong by that factor.
    """

    def __init__(self, gain: float = 1.2) -> None:
        self.gain = gain
        self.asked: list[LayerShape] = []

    def check(self, program: Program, target: str) -> None:
        pass

    def layer_costs(
        self, layers: Sequence[LayerShape], target: str, progress: Progress = silent
    ) -> tuple[float, ...]:
        self.asked += layers
        return tuple(INVOKE_MS + _layer_ms(layer) for layer in layers)

    def ratio(
        self, original: Program, program: Program, target: str, progress: Progress = silent
    ) -> LatencyRatio:
        whole, left = (_network_ms(each) for each in (original, program))
        original_cost = 1.1 * whole
        value = 1 - self.gain * (whole - left) / original_cost
        return LatencyRatio(value=value, low=0.99 * value, high=1.01 * value, original_cost=original_cost)


def _layer_ms(layer: LayerShape) -> float:
    outputs = output_channels(layer)
    stride = dict(layer.settings).get("stride", (1, 1))
    assert isinstance(stride, tuple)
    places = np.prod(layer.input[2:]) / np.prod(stride[: len(layer.input[2:])])
    return float(places * (np.prod(layer.weight) * MS_PER_MAC + outputs * MS_PER_OUTPUT))


def _network_ms(program: Program) -> float:
    return sum(
        layer.macs * MS_PER_MAC + np.prod(layer.output_shape) * MS_PER_OUTPUT
        for layer in cost.measure(program).layers
        if layer.type in ("conv2d", "linear") and layer.macs
    )


def _network() -> nn.Module:
    def block(inputs: int, outputs: int) -> list[nn.Module]:
        return [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU()]

    layers = [*block(3, 64), *block(64, 96), *block(96, 128)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 4))


@pytest.fixture(scope="module")
def program() -> Program:
    torch.manual_seed(0)
    return Program.capture(_network(), (torch.randn(2, 3, 8, 8),))


def context(program: Program, stopwatch: Clockwork, rules: Rules = Rules()) -> Context:
    return Context(original=program, load_model=models.load, stopwatch=stopwatch, rules=rules)


def model(structure: Structure) -> RelativeLatency:
    return RelativeLatency(1.0, 2.0, layer_costs(structure, Clockwork(), "clock", silent))


@pytest.mark.parametrize("network", tiny_networks.NETWORKS)
def test_slopes_are_finite_differences(network: type[nn.Module]) -> None:
    structure = read_structure(tiny_networks.capture(network))
    latency, counts = model(structure), structure.members.sum(1).astype(float)
    counts[counts >= 4] -= 2
    steps = 1e-3 * np.eye(len(counts))
    # Bilinear in the counts: a central difference is exact but for rounding.
    differences = [(latency(counts + step) - latency(counts - step)) / 2e-3 for step in steps]
    np.testing.assert_allclose(latency.slopes(counts), differences, atol=1e-8)
    assert latency.slopes(counts).max() > 0


def test_a_bilinear_clock_is_predicted_exactly() -> None:
    """The formula is bilinear in inputs and outputs, so a few counts tell all of it, depthwise layers included."""
    program = tiny_networks.capture(tiny_networks.Separable)
    structure = read_structure(program)
    plan = PruneChannels(macs=0.6).plan(program, context(program, Clockwork()))
    kept = classes_kept(structure, plan.removed)
    layers = layer_costs(structure, Clockwork(), "clock", silent)
    saved = layers.before - layers(structure.counts(kept))
    really_saved_ms = _network_ms(program) - _network_ms(rewrite(program, plan))
    assert saved == pytest.approx(really_saved_ms, rel=1e-6)


@pytest.mark.parametrize(
    ("scope", "gain", "share"),
    [("global", 1.2, 0.75), ("global", 1 / 1.2, 0.6), ("uniform", 1.2, 0.5), ("uniform", 1 / 1.2, 0.75)],
)
def test_a_table_that_is_wrong_by_a_fifth_still_hits(
    program: Program, scope: str, gain: float, share: float
) -> None:
    stopwatch = Clockwork(gain)
    stage = options.build(PruneChannels, {"latency": share, "scope": scope, "round_to": 4})
    outcome = stage.apply(program, context(program, stopwatch))
    measured = stopwatch.ratio(program, outcome.program, "clock").value
    assert measured == pytest.approx(share, rel=TOLERANCE)
    report = outcome.results["latency"]
    assert isinstance(report, dict)
    assert isinstance(report["rounds"], list)
    assert report["measured"] == pytest.approx(measured)
    assert report["predicted"] == pytest.approx(measured, rel=TOLERANCE)
    assert (report["target"], report["budget"]) == ("cpu:onnxruntime", share)
    assert 1 <= len(report["rounds"]) <= 3
    assert report["rounds"][0]["table"] == report["rounds"][0]["predicted"]


def test_both_budgets_hold_at_once(program: Program) -> None:
    stage = PruneChannels(latency=LatencyBudget(0.9), macs=0.4)
    outcome = stage.apply(program, context(program, Clockwork()))
    assert cost.measure(outcome.program).macs <= 0.4 * cost.measure(program).macs
    assert outcome.results["latency"]["measured"] < 0.9


def test_the_least_that_was_measured_is_said(program: Program) -> None:
    stopwatch = Clockwork(gain=0.5)
    with pytest.raises(
        BudgetMissed, match=r"brought to 0\.\d+ of the original's .measured.* not to 0\.3"
    ) as missed:
        PruneChannels(latency=LatencyBudget(0.3)).apply(program, context(program, stopwatch))
    said = float(str(missed.value).split("brought to ")[1].split()[0])
    # Everything at its floor of a quarter: nothing that keeps to max_ratio is faster.
    smallest = PruneChannels(ratio=0.75).apply(program, context(program, stopwatch)).program
    assert said == pytest.approx(stopwatch.ratio(program, smallest, "clock").value, abs=1e-3)


def test_a_program_that_is_fast_enough_is_refused(program: Program) -> None:
    pruned = compress.apply(program, Recipe((PruneChannels(macs=0.3),)))
    with pytest.raises(BadOption, match="already meets this budget"):
        PruneChannels(latency=LatencyBudget(0.9)).plan(pruned, context(program, Clockwork()))


def test_shares_are_of_the_original(program: Program) -> None:
    stopwatch = Clockwork()
    pruned = compress.apply(program, Recipe((PruneChannels(macs=0.8),)))
    stage = PruneChannels(latency=LatencyBudget(0.5), round_to=2)
    outcome = stage.apply(pruned, context(program, stopwatch))
    assert stopwatch.ratio(program, outcome.program, "clock").value == pytest.approx(0.5, rel=TOLERANCE)


def test_layers_that_a_rule_leaves_alone_keep_their_channels(program: Program) -> None:
    rules = Rules((Rule(layer="2", skip=True),))
    plan = PruneChannels(latency=LatencyBudget(0.7)).plan(program, context(program, Clockwork(), rules))
    assert {layer.name: layer.outputs_after for layer in plan.layers}["2"] == 96


def test_only_what_can_shrink_is_measured(program: Program) -> None:
    stopwatch = Clockwork()
    PruneChannels(latency=LatencyBudget(0.7)).plan(program, context(program, stopwatch))
    assert len(stopwatch.asked) == len(set(stopwatch.asked))
    assert {shape.input[1] for shape in stopwatch.asked if shape.input[2:] == (8, 8)} == {3, 64, 16, 96, 24}


@pytest.mark.parametrize(
    ("value", "meant"),
    [
        (0.6, LatencyBudget(0.6)),
        ("0.6", LatencyBudget(0.6)),
        ("0.55@cpu:litert", LatencyBudget(0.55, "cpu:litert")),
        (LatencyBudget(0.5), LatencyBudget(0.5)),
    ],
)
def test_a_budget_reads_from_text_and_survives_yaml(
    value: object, meant: LatencyBudget, tmp_path: Path
) -> None:
    stage = options.build(PruneChannels, {"latency": value})
    assert stage.latency == meant
    Recipe((stage,)).save(tmp_path / "recipe.yaml")
    assert Recipe.load(tmp_path / "recipe.yaml") == Recipe((stage,))


@pytest.mark.parametrize("value", [0, 1, 1.5, -0.1, "fast", "0.5x@cpu:litert", "@cpu:litert", "nan", True])
def test_what_is_no_share_is_refused(value: object) -> None:
    with pytest.raises(BadOption, match="between 0 and 1"):
        options.build(PruneChannels, {"latency": value})


def test_without_a_stopwatch_it_is_said_before_any_work(program: Program) -> None:
    with pytest.raises(UsageError, match="stopwatch=edgepress.latency.TargetStopwatch"):
        compress.apply(program, Recipe((PruneChannels(latency=LatencyBudget(0.6)),)))


def test_a_real_runtime_is_timed_and_on_record(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is asserted of the time itself, which is the machine's: the other budget keeps this one far away."""
    from edgepress.benchmarks import Protocol
    from edgepress.latency import TargetStopwatch

    monkeypatch.setenv("EDGEPRESS_CACHE", str(tmp_path))
    quick = Protocol(rounds=3, min_runs=3, min_seconds=0, min_warmup_runs=1, max_warmup_runs=10)
    stopwatch = TargetStopwatch(layer_protocol=quick, network_protocol=quick)
    stage = PruneChannels(latency=LatencyBudget(0.9, "cpu:onnxruntime"), macs=0.3)
    pruned = compress.apply(program, Recipe((stage,)), stopwatch=stopwatch)
    report = pruned.history.steps[-1].results["latency"]
    assert isinstance(report, dict)
    assert isinstance(report["rounds"], list)
    assert report["target"] == "cpu:onnxruntime"
    assert report["original_ms"] > 0
    taken = {key: report[key] for key in ("table", "predicted", "measured", "low", "high")}
    assert taken in report["rounds"]
    assert cost.measure(pruned).macs <= 0.3 * cost.measure(program).macs
    (table,) = (tmp_path / "latency").iterdir()
    assert len(json.loads(table.read_text())["costs"]) >= 4
