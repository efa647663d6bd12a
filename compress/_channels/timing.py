"""The plan of a prune that meets a budget of measured latency."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from edgepress.compress._channels.budget import WAYS_OUT, Limit
from edgepress.compress._channels.latency import RelativeLatency, layer_costs
from edgepress.compress._channels.latency_budget import LatencyBudget
from edgepress.compress._channels.latency_report import LatencyReport
from edgepress.compress._channels.latency_rounds import Round, approach, best
from edgepress.compress._channels.limits import already_met
from edgepress.compress._channels.plan import Plan, classes_kept
from edgepress.compress._channels.structure import Structure
from edgepress.errors import BudgetMissed
from edgepress.program import Program
from edgepress.stage import Context
from edgepress.stopwatch import LatencyRatio


def plan_within(
    budget: LatencyBudget,
    program: Program,
    context: Context,
    structure: Structure,
    plan_under: Callable[[Limit], Plan],
    rewritten: Callable[[Plan], Program],
) -> Plan:
    """The plan whose network, converted and timed beside the original's, is within 5 % of the budget.

    `plan_under` plans within a limit that is not firm, `rewritten` carries a plan out. Raises BudgetMissed, with the least
    that was measured, when every plan is slower; BadOption when the program is fast enough already.
    """
    stopwatch, target = context.required_stopwatch(), budget.target
    start = stopwatch.ratio(context.original, program, target, context.progress)
    if start.value <= budget.share:
        raise already_met(str(budget))
    layers = layer_costs(structure, stopwatch, target, context.progress)
    latency = RelativeLatency(start.value, start.original_cost, layers)

    def plan_at(most: float) -> tuple[Plan, float]:
        plan = plan_under(Limit(latency, most, f"the {start.quantity} on {target}", is_firm=False))
        return plan, latency(structure.counts(classes_kept(structure, plan.removed)))

    def measure(plan: Plan) -> LatencyRatio:
        measured = stopwatch.ratio(context.original, rewritten(plan), target, context.progress)
        context.announce(
            f"{measured.quantity} on {target}: {measured.value:.3f} of the original's, budget {budget.share:g}"
        )
        return measured

    rounds = approach(budget.share, start.value, plan_at, measure)
    taken = best(budget.share, rounds)
    if taken is None:
        raise _missed(budget, rounds)
    report = LatencyReport(
        budget=budget, rounds=tuple(entry.timing for entry in rounds), taken=rounds.index(taken)
    )
    return dataclasses.replace(taken.plan, latency=report)


def _missed(budget: LatencyBudget, rounds: Sequence[Round]) -> BudgetMissed:
    least = min((entry.timing.measured for entry in rounds), key=lambda measured: measured.value)
    return BudgetMissed(
        f"The {least.quantity} on {budget.target} was brought to {least.value:.3f} of the original's (measured in "
        f"{len(rounds)} rounds, {least.low:.3f} to {least.high:.3f}), and not to {budget.share:g}.",
        hint=WAYS_OUT,
    )
