"""A recipe out of a scan: equal drops, within the budget, and what prune_channels makes of it."""

from __future__ import annotations

import pytest
import tiny_networks

from edgepress import compress, cost
from edgepress.accuracy import Accuracy
from edgepress.compress import equal_drops
from edgepress.compress.prune_channels import prunable
from edgepress.errors import BudgetMissed
from edgepress.program import Program
from edgepress.sensitivity import Part, Question, Sensitivity, Trial

WHOLE = 90.0


def scan(program: Program, drops: list[list[float]]) -> Sensitivity:
    """A scan whose part n drops by `drops[n]` at the ratios 0.25, 0.5 and 0.75."""

    def trial(ratio: float, drop: float) -> Trial:
        accuracy = Accuracy(WHOLE - drop, 100, 100)
        return Trial(ratio=ratio, removed=0, macs=0, parameters=0, accuracy=accuracy)

    groups = prunable(program).groups
    parts = (
        Part(layers=group.layers, channels=group.channels, trials=tuple(map(trial, (0.25, 0.5, 0.75), each)))
        for group, each in zip(groups, drops, strict=True)
    )
    whole = Accuracy(WHOLE, 100, 100)
    question = Question(network="", samples="", data="", split="train", options={"criterion": "l1"})
    return Sensitivity(
        question=question, original=whole, reference=whole, macs=0, parameters=0, parts=tuple(parts)
    )


@pytest.fixture(scope="module")
def program() -> Program:
    return tiny_networks.capture(tiny_networks.Residual)


@pytest.mark.parametrize("macs", [0.4, 0.6, 0.8])
def test_the_pruned_network_keeps_the_budget(program: Program, macs: float) -> None:
    recipe = equal_drops(program, scan(program, [[1, 2, 4], [2, 4, 8]]), macs)
    pruned = compress.apply(program, recipe)
    assert cost.measure(pruned).macs <= macs * cost.measure(program).macs
    (stage,) = recipe.stages
    assert stage.criterion == "l1"


def test_ratios_cost_equal_drops(program: Program) -> None:
    """The second part drops by twice as much at each ratio: it loses half as much of its channels."""
    recipe = equal_drops(program, scan(program, [[1, 2, 3], [2, 4, 6]]), 0.6)
    first, second = (rule.options["ratio"] for rule in recipe.rules.rules)
    # Ratios are written with three digits.
    assert first == pytest.approx(2 * second, abs=2e-3)


def test_what_costs_at_once_is_left_alone_and_what_costs_nothing_goes_first(program: Program) -> None:
    recipe = equal_drops(program, scan(program, [[50, 60, 70], [-1, 0, 0]]), 0.6)
    left, gone = recipe.rules.rules
    assert (left.skip, gone.options) == (True, {"ratio": 0.75})


def test_a_larger_ratio_is_not_credited_with_a_smaller_drop(program: Program) -> None:
    recipe = equal_drops(program, scan(program, [[10, 0, 10], [1, 2, 3]]), 0.6)
    jagged, plain = recipe.rules.rules
    assert jagged.skip or jagged.options["ratio"] < 0.25
    assert plain.options["ratio"] > 0.25


def test_says_what_the_scan_reaches(program: Program) -> None:
    with pytest.raises(BudgetMissed, match="0\\.1"):
        equal_drops(program, scan(program, [[1, 2, 4], [2, 4, 8]]), 0.001)
