"""Pruning in steps: budgets by step, channels that come back, what is checked before any training, options both ways."""

from __future__ import annotations

import dataclasses

import pytest
import tiny_networks

from edgepress import compress, cost, models, options, stage
from edgepress.cli import run as edgepress
from edgepress.compress._channels.schedule import left
from edgepress.compress.distill import Distill
from edgepress.compress.prune_channels import Plan, PruneChannels
from edgepress.compress.prune_channels_gradually import PruneChannelsGradually
from edgepress.errors import BadOption, BudgetMissed, UnknownName, UsageError
from edgepress.program import Program
from edgepress.recipe import Recipe
from edgepress.rules import Rule, Rules
from edgepress.stage import Context, Outcome

TUNE = Distill(epochs=1, batch_size=32, learning_rate=0.01)


@pytest.fixture(scope="module")
def program() -> Program:
    return tiny_networks.capture(tiny_networks.Residual)


def run(program: Program, given: PruneChannelsGradually, **changes: object) -> tuple[Outcome, list[str]]:
    told: list[str] = []
    context = Context(
        original=program, load_model=models.load, data=tiny_networks.Patches(64), announce=told.append
    )
    return given.apply(program, dataclasses.replace(context, **changes)), told


def macs(program: Program) -> int:
    return cost.measure(program).macs


@pytest.mark.parametrize("regrow", [False, True])
def test_every_step_keeps_its_budget_and_the_last_one_the_final(program: Program, regrow: bool) -> None:
    seen: set[str] = set()
    given = PruneChannelsGradually(
        macs=0.3, steps=3, schedule="linear", round_to=1, max_ratio=0.9, regrow=regrow, tune=TUNE
    )
    outcome, told = run(program, given, progress=lambda task, done, total: seen.add(task))
    rows = outcome.results["steps"]
    for number, row in enumerate(rows, 1):
        share = row["macs"] / macs(program)
        # A channel of the widest layer is 6 % of this network.
        assert share <= left("linear", number / 3, start=1, final=0.3) < share + 0.1
        assert row["step"] == number
        assert {"holdout_accuracy", "holdout_loss", "training_loss"} <= row.keys()
    assert macs(outcome.program) == rows[-1]["macs"] == outcome.results["macs"]
    assert [text.partition(":")[0] for text in told] == ["step 1 of 3", "step 2 of 3", "step 3 of 3"]
    assert "prune_channels_gradually: step 2 of 3, distill: epoch 1 of 1" in seen


@pytest.mark.parametrize("regrow", [False, True])
def test_every_step_plans_on_the_network_that_the_one_before_has_left(
    program: Program, regrow: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first plan tells what is out of reach before any training; then there is one for each step that is taken."""
    plans: list[Plan] = []
    plan_once = PruneChannels.plan

    def recorded(self: PruneChannels, program: Program, context: Context) -> Plan:
        plans.append(plan_once(self, program, context))
        return plans[-1]

    monkeypatch.setattr(PruneChannels, "plan", recorded)
    given = PruneChannelsGradually(
        macs=0.3, steps=3, schedule="linear", round_to=1, max_ratio=0.9, regrow=regrow, tune=TUNE
    )
    outcome, _ = run(program, given)
    _, *steps = plans
    assert [plan.macs_after for plan in steps] == [row["macs"] for row in outcome.results["steps"]]
    assert len(steps) == 3
    for earlier, later in zip(steps, steps[1:], strict=False):
        left_over = [layer.outputs if regrow else layer.outputs_after for layer in earlier.layers]
        assert [layer.outputs for layer in later.layers] == left_over
        assert later.macs == (earlier.macs if regrow else earlier.macs_after)


def test_channels_are_told_over_all_steps(program: Program) -> None:
    results = run(program, PruneChannelsGradually(macs=0.4, steps=2, round_to=4, tune=TUNE))[0].results
    before = {layer: counts[0] for layer, counts in results["channels"].items()}
    assert before == {"stem": 16, "first": 32, "second": 16, "head": 4}
    stayed = {layer for layer, (first, last) in results["channels"].items() if first == last}
    assert results["unchanged"].keys() == stayed
    assert results["unchanged"]["head"] == "its channels are the network's output"


def test_with_regrow_channels_come_back(program: Program) -> None:
    """A high learning rate changes which channels matter from step to step, and the results count them."""
    wild = dataclasses.replace(TUNE, learning_rate=0.3, batch_size=16)
    given = PruneChannelsGradually(macs=0.3, steps=4, round_to=1, regrow=True, criterion="taylor", tune=wild)
    rows = run(program, given)[0].results["steps"]
    assert "returned" not in rows[0]
    assert sum(row["returned"] for row in rows[1:]) > 0


def test_a_step_that_is_met_already_is_left_out(program: Program) -> None:
    coarse = PruneChannelsGradually(macs=0.6, steps=6, schedule="linear", round_to=16, tune=TUNE)
    outcome, _ = run(program, coarse)
    assert 1 <= len(outcome.results["steps"]) < 6
    assert macs(outcome.program) <= 0.6 * macs(program)


def test_what_is_out_of_reach_is_told_before_any_training(program: Program) -> None:
    def fail(task: str, done: int, total: int | None) -> None:
        raise AssertionError(f"trained: {task}")

    with pytest.raises(BudgetMissed, match="can be brought to"):
        run(program, PruneChannelsGradually(macs=0.01, tune=TUNE), progress=fail)


def test_rules_hold_in_every_step(program: Program) -> None:
    rules = Rules((Rule(layer="first", stage="prune_channels_gradually", skip=True),))
    given = PruneChannelsGradually(macs=0.7, steps=2, round_to=4, tune=TUNE)
    outcome, _ = run(program, given, rules=rules)
    assert outcome.results["channels"]["first"] == [32, 32]


def test_no_labels_are_needed(program: Program) -> None:
    given = PruneChannelsGradually(macs=0.6, steps=2, round_to=4, tune=TUNE)
    pruned = compress.apply(program, Recipe((given,)), tiny_networks.unlabelled(64))
    assert macs(pruned) <= 0.6 * macs(program)


def test_what_is_refused(program: Program) -> None:
    data = tiny_networks.Patches(64)
    for given, error, said in (
        (PruneChannelsGradually(), BadOption, "needs a budget"),
        (PruneChannelsGradually(ratio=0.5), BadOption, "not ratio"),
        (PruneChannelsGradually(macs=0.5, steps=1), BadOption, "steps=1"),
        (PruneChannelsGradually(macs=0.5, tune=Distill(epochs=0)), BadOption, "epochs=0"),
        (PruneChannelsGradually(macs=0.5, tune=Distill(patience=1, holdout=0)), BadOption, "patience needs"),
    ):
        with pytest.raises(error, match=said):
            compress.check(program, Recipe((given,)), data)
    with pytest.raises(UsageError, match="needs data to train with"):
        compress.check(program, Recipe((PruneChannelsGradually(macs=0.5),)), None)


def test_options_of_the_tuning_in_yaml_and_on_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    values = options.parse("0.4,steps=4,tune.epochs=2,tune.teacher=big.pt2", shorthand="macs")
    given = options.build(stage.find("prune_channels_gradually"), values)
    assert given == PruneChannelsGradually(macs=0.4, steps=4, tune=Distill(epochs=2, teacher="big.pt2"))
    recipe = Recipe((given,))
    assert recipe.to_mapping()["stages"] == [
        {"prune_channels_gradually": {"macs": 0.4, "steps": 4, "tune": {"epochs": 2, "teacher": "big.pt2"}}}
    ]
    assert Recipe.from_mapping(recipe.to_mapping()) == recipe
    with pytest.raises(UnknownName, match="Did you mean 'epochs'"):
        options.build(PruneChannelsGradually, options.parse("macs=0.4,tune.epoch=2"))
    edgepress(["stages", "prune_channels_gradually"])
    printed = capsys.readouterr().out
    assert "tune.epochs" in printed
    assert "tune.learning_rate" in printed
