"""Finds how many channels of each group stay, so that a network's cost stays within its limits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgepress.compress._channel_structure import Amount
from edgepress.errors import BudgetMissed


@dataclass(frozen=True, eq=False)
class Group:
    """Channels that lie on the same axes. `scores` ascends: the first goes first. Counts are multiples of
    `step` as far as there are that many. `usage[axis]`: entries that one channel takes up."""

    scores: np.ndarray
    step: int
    usage: np.ndarray


@dataclass(frozen=True, eq=False)
class Limit:
    """`amount` must not exceed `most`; `text` says it in the user's words."""

    amount: Amount
    most: float
    text: str


@dataclass(frozen=True, eq=False)
class Problem:
    """`floors[axis]` entries stay at least, and `base[axis]` always do."""

    groups: tuple[Group, ...]
    base: np.ndarray
    floors: np.ndarray
    limits: tuple[Limit, ...]

    @property
    def usage(self) -> np.ndarray:
        """axes x groups."""
        return np.stack([group.usage for group in self.groups], axis=1).astype(np.int64)

    def counts(self, kept: np.ndarray) -> np.ndarray:
        counts: np.ndarray = self.base + self.usage @ kept
        return counts

    def is_within(self, counts: np.ndarray) -> bool:
        return all(limit.amount(counts) <= limit.most for limit in self.limits)


def search_global(problem: Problem) -> np.ndarray:
    """How many channels of each group stay: whatever costs the least importance for what it saves goes first.

    Raises BudgetMissed with the least that can be reached.
    """
    usage = problem.usage
    kept = np.array([len(group.scores) for group in problem.groups])
    counts = problem.counts(kept)
    while not problem.is_within(counts):
        block = np.array([_block(group, k) for group, k in zip(problem.groups, kept, strict=True)])
        price = _prices(problem, kept, block) / _savings(problem, counts)
        possible = (counts[:, None] - usage * block >= problem.floors[:, None]) | (usage == 0)
        price[~possible.all(0) | (block == 0)] = np.inf
        cheapest = int(price.argmin())
        if not np.isfinite(price[cheapest]):
            raise _missed(problem, counts)
        kept[cheapest] -= block[cheapest]
        counts = counts - usage[:, cheapest] * block[cheapest]
    return _filled(problem, kept)


def search_uniform(problem: Problem) -> np.ndarray:
    """How many channels of each group stay when every group loses the same share, as far as rounding lets it."""
    least = _uniform(problem, 0.0)
    if not problem.is_within(problem.counts(least)):
        raise _missed(problem, problem.counts(least))
    low, high = 0.0, 1.0
    for _ in range(30):
        middle = (low + high) / 2
        if problem.is_within(problem.counts(_uniform(problem, middle))):
            low = middle
        else:
            high = middle
    return _filled(problem, _uniform(problem, low))


def _block(group: Group, kept: int) -> int:
    """How many channels go next: down to the next multiple of the group's step."""
    return int((kept % group.step or group.step) if kept > 0 else 0)


def _prices(problem: Problem, kept: np.ndarray, block: np.ndarray) -> np.ndarray:
    """The mean importance of the channels that would go next."""
    found = np.full(len(kept), np.inf)
    for number, group in enumerate(problem.groups):
        removed = len(group.scores) - kept[number]
        if block[number]:
            found[number] = group.scores[removed : removed + block[number]].mean()
    return found


def _savings(problem: Problem, counts: np.ndarray) -> np.ndarray:
    """What one channel of each group costs, as a share of the limits that are not kept yet."""
    total = np.zeros(len(problem.groups))
    for limit in problem.limits:
        if limit.amount(counts) > limit.most:
            total += limit.amount.slopes(counts) @ problem.usage / limit.amount.before
    return np.maximum(total, 1e-12)


def _filled(problem: Problem, kept: np.ndarray) -> np.ndarray:
    """Put back whatever still fits, the most important first: the last block taken often saved too much."""
    kept = kept.copy()
    while True:
        best, best_price = -1, 0.0
        for number, group in enumerate(problem.groups):
            removed = len(group.scores) - kept[number]
            back = min(group.step, removed)
            if not back:
                continue
            trial = kept.copy()
            trial[number] += back
            price = float(group.scores[removed - back : removed].mean())
            if price >= best_price and problem.is_within(problem.counts(trial)):
                best, best_price = number, price
        if best < 0:
            return kept
        kept[best] += min(problem.groups[best].step, len(problem.groups[best].scores) - kept[best])


def _uniform(problem: Problem, share: float) -> np.ndarray:
    """Every group with `share` of its channels, rounded down to its step, but over the floors."""
    kept = np.array([_rounded(len(group.scores), share, group.step) for group in problem.groups])
    for number, group in enumerate(problem.groups):
        while (
            kept[number] < len(group.scores)
            and ((problem.counts(kept) < problem.floors) & (group.usage > 0)).any()
        ):
            kept[number] = min(kept[number] + group.step, len(group.scores))
    return kept


def _rounded(size: int, share: float, step: int) -> int:
    return size if share >= 1 else int(size * share) // step * step


def _missed(problem: Problem, counts: np.ndarray) -> BudgetMissed:
    reached = ", ".join(
        f"{limit.text}: at least {limit.amount(counts) / limit.amount.before:.3f} of this network's {limit.amount.before:,}"
        for limit in problem.limits
    )
    return BudgetMissed(
        f"The network cannot be pruned that far. Reachable: {reached}.",
        hint="a larger budget, a smaller round_to or min_channels, or a larger max_ratio",
    )
