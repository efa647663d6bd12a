"""Plans, measures and plans again, until the measured latency is within 5 % of its budget.

What single layers save when they are timed alone is not just what they save in the network. The error is nearly
one factor on everything that is saved: one measurement corrects it, further ones enclose the budget.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgepress.compress._channels.latency_report import Timing
from edgepress.compress._channels.plan import Plan
from edgepress.stopwatch import LatencyRatio

TOLERANCE = 0.05
"""How far from its budget a measured latency may be, as a share of the budget."""
MOST_ROUNDS = 6
SMALLEST_GAIN, LARGEST_GAIN = 0.2, 5.0
"""Between them lies the measured over the predicted saving; beyond them it is the noise of a busy machine."""
ALMOST_ALL = 1 - 1e-6
"""Of the latency: what asks for the plan that removes least, where noise speaks for one that removes nothing."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Round:
    """One plan and how its latency was predicted and measured."""

    plan: Plan
    timing: Timing

    @property
    def measured(self) -> float:
        return self.timing.measured.value


@dataclass(frozen=True)
class _Line:
    """Measured latency as a function of the table's, through a point and with a gain."""

    table: float
    measured: float
    gain: float = 1.0

    def measured_at(self, table: float) -> float:
        return self.measured + (table - self.table) * self.gain

    def table_at(self, measured: float) -> float:
        return self.table + (measured - self.measured) / self.gain


def approach(
    share: float,
    start: float,
    plan_at: Callable[[float], tuple[Plan, float]],
    measure: Callable[[Plan], LatencyRatio],
) -> list[Round]:
    """The rounds it took to bring the latency from `start` to `share` of the original's.

    `plan_at` makes the slowest plan whose latency is at most this by the table (or the fastest there is), and
    says what it is. The middle between the budget and 5 % below it is aimed at, and a plan in between ends the
    search. Where channels go in steps too large for that, plans up to 5 % above the budget are tried too.
    """
    rounds: list[Round] = []
    while len(rounds) < MOST_ROUNDS and not any(_is_hit(share, entry.measured) for entry in rounds):
        line = _line(share, start, rounds)
        aims = (share * (1 - TOLERANCE / 2), share, share * (1 + TOLERANCE))
        plans = (plan_at(min(line.table_at(aim), start * ALMOST_ALL)) for aim in aims)
        fresh = ((plan, table) for plan, table in plans if all(plan != entry.plan for entry in rounds))
        plan, table = next(fresh, (None, 0.0))
        if plan is None:
            break
        timing = Timing(table=table, predicted=line.measured_at(table), measured=measure(plan))
        rounds.append(Round(plan=plan, timing=timing))
    return rounds


def best(share: float, rounds: Sequence[Round]) -> Round | None:
    """The round to take: the slowest within the budget and near it, else the nearest above and near it, else
    the slowest within the budget; None when all are too slow."""
    within = [entry for entry in rounds if entry.measured <= share]
    above = [entry for entry in rounds if share < entry.measured <= share * (1 + TOLERANCE)]
    slowest = max(within, key=lambda entry: entry.measured, default=None)
    nearest = min(above, key=lambda entry: entry.measured, default=None)
    is_near = slowest is not None and _is_hit(share, slowest.measured)
    return slowest if is_near or nearest is None else nearest


def _line(share: float, start: float, rounds: Sequence[Round]) -> _Line:
    """Through the two measured points that enclose the budget, or those nearest to doing so."""
    points = [(entry.timing.table, entry.measured) for entry in rounds]
    slow = min((point for point in points if point[1] > share), default=(start, start))
    fast = max((point for point in points if point[1] <= share), default=None)
    if fast is None:
        fast, slow = slow, (start, start)
    if slow[0] - fast[0] <= 0:
        return _Line(*fast)
    gain = (slow[1] - fast[1]) / (slow[0] - fast[0])
    return _Line(*fast, min(max(gain, SMALLEST_GAIN), LARGEST_GAIN))


def _is_hit(share: float, measured: float) -> bool:
    return share * (1 - TOLERANCE) <= measured <= share
