"""Remove channels in several steps with training between them, for good or so that they may come back until the end."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge

from edgepress import cost
from edgepress.compress._channels.apart import prepared
from edgepress.compress._channels.regrowth import as_read, cut_off
from edgepress.compress._channels.schedule import AMOUNTS, Budgets, Schedule, budgets_after, is_within
from edgepress.compress.distill import Distill
from edgepress.compress.prune_channels import Plan, PruneChannels
from edgepress.data import Split
from edgepress.errors import BadOption
from edgepress.history import Value
from edgepress.program import Program
from edgepress.stage import Context, Outcome


@dataclass(frozen=True, kw_only=True)
class PruneChannelsGradually(PruneChannels):
    """Channel pruning in steps: prune a little, tune, prune a little more.

    The options of prune_channels say what is left in the end. These say how the network gets there:

    steps: how many times channels go, each time followed by the training `tune`. Few steps with many epochs are
        known as iterative pruning, many with few as gradual.
    schedule: how the budget falls: linear, geometric or cubic (the most first).
    tune: the options of distill for the training after each step: tune.epochs=2, tune.teacher=big.pt2, ...
    regrow: until the last step, channels are only cut off and go on training, so that every step chooses anew
        among all of them, and some come back: soft filter pruning (He et al., 2018, Soft Filter Pruning for
        Accelerating Deep Convolutional Neural Networks) with a budget that falls.
    """

    per_layer = PruneChannels.per_layer - {"ratio"}

    steps: Annotated[int, Ge(2)] = 5
    schedule: Schedule = "cubic"
    tune: Distill = Distill(epochs=1)
    regrow: bool = False

    def needs(self) -> frozenset[Split]:
        return super().needs() | self.tune.needs()

    def teachers(self) -> frozenset[str]:
        return self.tune.teachers()

    def check(self, program: Program) -> None:
        """Raise what PruneChannels and the training raise, and BadOption for what cannot be divided into steps."""
        for name in ("ratio", "latency"):
            if getattr(self, name) is not None:
                raise BadOption(
                    f"Gradual pruning takes a budget that can be counted, not {name}.",
                    where=f"{self.name()} {name}={getattr(self, name)}",
                    hint="macs=0.5, parameters=0.5, or size_bytes=500000",
                )
        super().check(program)
        self.tune.check(program)

    def apply(self, program: Program, context: Context) -> Outcome:
        """Raises BudgetMissed and UnsupportedModel, with reasons, before any training."""
        program = prepared(program, self.parts)
        planned = plan = self.plan(program, context)
        start, whole = cost.measure(program), cost.measure(context.original)
        outcome, rows = Outcome(program), list[Value]()
        for number in range(1, self.steps + 1):
            budgets = budgets_after(self.schedule, number / self.steps, self._budgets(), start, whole)
            if is_within(budgets, cost.measure(program), whole):
                continue  # Channels go in multiples, so the step before went this far already.
            step = dataclasses.replace(self, **budgets)  # type: ignore[arg-type]  # shares by the options' names
            earlier, plan = plan, step._plan_among_all(program, context)
            outcome = step._pruned(program, plan, context, is_last=number == self.steps)
            tuned = self.tune.apply(outcome.program, self._tuning(context, number))
            program = tuned.program
            returned = {"returned": _returned(earlier, plan)} if self.regrow and rows else {}
            counts = {"step": number, "macs": plan.macs_after, "parameters": plan.parameters_after}
            rows.append({**counts, **returned, **tuned.results})
            context.announce(_line(number, self.steps, plan, whole.macs, tuned))
        return Outcome(program, {**outcome.results, **_changes(planned, plan), "steps": rows})

    def _budgets(self) -> Budgets:
        given = {name: getattr(self, name) for name in AMOUNTS}
        return {name: value for name, value in given.items() if value is not None}

    def _plan_among_all(self, program: Program, context: Context) -> Plan:
        """The plan for a step: channels that were cut off before compete by what they have regained."""
        sees_weights_alone = not super().needs()
        return self.plan(
            as_read(program, self.parts) if self.regrow and sees_weights_alone else program, context
        )

    def _pruned(self, program: Program, plan: Plan, context: Context, *, is_last: bool) -> Outcome:
        if self.regrow and not is_last:
            return Outcome(cut_off(program, plan))
        return self.carry_out(program, plan, context)

    def _tuning(self, context: Context, number: int) -> Context:
        """The context of the training after a step: its progress says which, and it sees the data in another order."""

        def progress(task: str, done: int, total: int | None) -> None:
            context.progress(f"{self.name()}: step {number} of {self.steps}, {task}", done, total)

        seed = context.seed + (number - 1) * self.tune.epochs
        return dataclasses.replace(context, progress=progress, seed=seed)


def _returned(earlier: Plan, plan: Plan) -> int:
    """How many output channels that went in the plan before stay in this one."""
    pairs = zip(earlier.layers, plan.layers, strict=True)
    return sum(len(set(before.removed) - set(after.removed)) for before, after in pairs)


def _changes(planned: Plan, last: Plan) -> dict[str, Value]:
    """The channels of every layer before the first step and after the last; where they are the same, why."""
    layers = list(zip(planned.layers, last.layers, strict=True))
    return {
        "channels": {before.name: [before.outputs, after.outputs_after] for before, after in layers},
        "unchanged": {
            before.name: after.reason for before, after in layers if before.outputs == after.outputs_after
        },
    }


def _line(number: int, steps: int, plan: Plan, whole_macs: int, tuned: Outcome) -> str:
    accuracy = tuned.results.get("holdout_accuracy")
    measured = f", {accuracy:.2f} % on held-out samples" if isinstance(accuracy, float) else ""
    share = plan.macs_after / whole_macs
    return f"step {number} of {steps}: {plan.macs_after:,} multiply-accumulates ({share:.1%}){measured}"
