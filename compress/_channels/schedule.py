"""How a prune's budgets fall from the whole network to what is left in the end, step by step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from edgepress.cost import Cost

Schedule = Literal["linear", "geometric", "cubic"]


@dataclass(frozen=True)
class _Amount:
    """What a budget limits. A share is of the original network's; any other budget is the amount itself."""

    of: Callable[[Cost], int]
    is_share: bool

    def unit(self, original: Cost) -> int:
        return self.of(original) if self.is_share else 1


AMOUNTS: Mapping[str, _Amount] = {
    "macs": _Amount(lambda cost: cost.macs, is_share=True),
    "parameters": _Amount(lambda cost: cost.parameters, is_share=True),
    "size_bytes": _Amount(lambda cost: cost.weight_bytes, is_share=False),
}
"""By the name of the option."""

Budgets = Mapping[str, float]
"""The values of those options that are given."""


def left(schedule: Schedule, done: float, *, start: float, final: float) -> float:
    """What is left after `done` (0 to 1) of the steps from `start` to `final`.

    linear: every step takes the same amount. geometric: every step takes the same share of what is there.
    cubic: the first steps take most, when there is most to spare (Zhu and Gupta, 2017, To Prune, or Not to Prune).
    """
    if schedule == "geometric":
        return float(start * (final / start) ** done)
    progress = done if schedule == "linear" else 1 - (1 - done) ** 3
    return start - (start - final) * progress


def budgets_after(schedule: Schedule, done: float, finals: Budgets, now: Cost, original: Cost) -> Budgets:
    """The budgets after `done` (0 to 1) of the steps from a network that costs `now` to the budgets `finals`."""
    if done >= 1:
        return finals
    found = {}
    for name, final in finals.items():
        amount = AMOUNTS[name]
        start = max(final, amount.of(now) / amount.unit(original))
        value = left(schedule, done, start=start, final=final)
        found[name] = value if amount.is_share else int(value)
    return found


def is_within(budgets: Budgets, now: Cost, original: Cost) -> bool:
    """Whether a network that costs `now` keeps all the budgets."""
    return all(
        AMOUNTS[name].of(now) <= value * AMOUNTS[name].unit(original) for name, value in budgets.items()
    )
