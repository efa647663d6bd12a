"""Finds how many channels of each group stay, so that a network's cost stays within its limits."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from edgepress.errors import BudgetMissed

SAVING_EXPONENT = 0.5
"""Importance is paid for by the power of what it saves: 0 would only rank by importance, 1 would empty the
layers that compute most, because scores fall and costs rise by different laws."""
WAYS_OUT = "a larger budget, a smaller round_to or min_channels, a larger max_ratio, or parts=apart for convolutions in groups"
"""What to try where a budget cannot be reached."""


@dataclass(frozen=True, eq=False)
class Bundle:
    """Channels that the same layers make, the least important first; `classes` and `scores` go together.

    Counts are multiples of `step`. `share` of them stays where the user says so; None lets the search decide.
    """

    classes: np.ndarray
    scores: np.ndarray
    step: int
    share: float | None = None

    def start(self) -> int:
        """How many stay when the search begins: all, or the multiple next to the given share."""
        size = len(self.scores)
        if self.share is None:
            return size
        return min(size, max(1, math.ceil(size * self.share / self.step - 0.5)) * self.step)

    def removable(self, kept: int) -> np.ndarray:
        """The places of those that go next when `kept` stay: down to the next multiple of the step."""
        removed = len(self.scores) - kept
        return np.arange(removed, removed + (kept % self.step or self.step) if kept else removed)

    def returnable(self, kept: int) -> np.ndarray:
        """The places of those that went last."""
        removed = len(self.scores) - kept
        return np.arange(max(0, removed - self.step), removed)


class Quantity(Protocol):
    """A cost as a function of how many entries of each axis stay; `before` is that of all of them."""

    @property
    def before(self) -> float: ...

    def __call__(self, counts: np.ndarray) -> float: ...

    def slopes(self, counts: np.ndarray) -> np.ndarray:
        """How much the cost grows with one more entry on each axis."""


@dataclass(frozen=True, eq=False)
class Limit:
    """`amount` must not exceed `most`; `text` names it in the user's words. Where one that is not firm cannot
    be kept, the search comes as near as it can."""

    amount: Quantity
    most: float
    text: str
    is_firm: bool = True


@dataclass(frozen=True, eq=False)
class Problem:
    """`members[axis, class]` as in Structure; `floors[axis]` entries stay at least."""

    bundles: tuple[Bundle, ...]
    members: np.ndarray
    floors: np.ndarray
    limits: tuple[Limit, ...]
    saving_exponent: float = SAVING_EXPONENT

    def start(self) -> np.ndarray:
        """How many channels of each bundle stay when the search begins, more than asked for where a floor says so."""
        return _raised(self, np.array([bundle.start() for bundle in self.bundles]))

    def is_decided(self) -> np.ndarray:
        """Which bundles (bool) the search leaves as they start."""
        return np.array([bundle.share is not None for bundle in self.bundles])

    def classes_kept(self, kept: np.ndarray) -> np.ndarray:
        """Which classes stay (bool) when each bundle keeps its `kept[bundle]` most important."""
        stays = np.ones(self.members.shape[1], bool)
        for bundle, count in zip(self.bundles, kept.tolist(), strict=True):
            stays[bundle.classes[: len(bundle.classes) - count]] = False
        return stays

    def counts(self, kept: np.ndarray) -> np.ndarray:
        """How many entries of each axis stay."""
        counts: np.ndarray = self.members @ self.classes_kept(kept).astype(self.members.dtype)
        return counts

    def usage(self, bundle: int, places: np.ndarray) -> np.ndarray:
        """How many entries of each axis these channels of a bundle take up."""
        usage: np.ndarray = self.members[:, self.bundles[bundle].classes[places]].sum(1)
        return usage

    def exceeded(self, counts: np.ndarray) -> list[Limit]:
        """The limits that do not hold."""
        return [limit for limit in self.limits if limit.amount(counts) > limit.most]

    def is_within(self, counts: np.ndarray) -> bool:
        return not self.exceeded(counts)

    def check_firm(self, counts: np.ndarray) -> None:
        """Raise BudgetMissed when a firm limit does not hold with these counts, the least that can be reached."""
        missed = [limit for limit in self.exceeded(counts) if limit.is_firm]
        if missed:
            raise _missed(missed, counts)


def search_global(problem: Problem) -> np.ndarray:
    """How many channels of each bundle stay: whatever matters least for what it saves goes first.

    Raises BudgetMissed with the least that can be reached.
    """
    kept, decided = problem.start(), problem.is_decided()
    counts = problem.counts(kept)
    blocks = [bundle.removable(count) for bundle, count in zip(problem.bundles, kept.tolist(), strict=True)]
    usage = np.stack([problem.usage(number, block) for number, block in enumerate(blocks)], axis=1)
    loss = np.array(
        [bundle.scores[block].sum() for bundle, block in zip(problem.bundles, blocks, strict=True)]
    )
    while not problem.is_within(counts):
        price = loss / _saved(problem, counts, usage) ** problem.saving_exponent
        is_open = (counts[:, None] - usage >= problem.floors[:, None]) | (usage == 0)
        price[~is_open.all(0) | ~usage.any(0) | decided] = np.inf
        cheapest = int(price.argmin())
        if not np.isfinite(price[cheapest]):
            problem.check_firm(counts)
            break
        counts = counts - usage[:, cheapest]
        kept[cheapest] -= len(blocks[cheapest])
        bundle = problem.bundles[cheapest]
        blocks[cheapest] = bundle.removable(int(kept[cheapest]))
        usage[:, cheapest] = problem.usage(cheapest, blocks[cheapest])
        loss[cheapest] = bundle.scores[blocks[cheapest]].sum()
    return _filled(problem, kept)


def search_uniform(problem: Problem) -> np.ndarray:
    """How many channels of each bundle stay when every bundle loses the same share, as far as rounding lets it."""
    least = _uniform(problem, 0.0)
    problem.check_firm(problem.counts(least))
    low, high = 0.0, 1.0
    for _ in range(20):
        middle = (low + high) / 2
        if problem.is_within(problem.counts(_uniform(problem, middle))):
            low = middle
        else:
            high = middle
    return _filled(problem, _uniform(problem, low))


def _saved(problem: Problem, counts: np.ndarray, usage: np.ndarray) -> np.ndarray:
    """What each block saves, as a share of the limits that are still exceeded."""
    total = np.zeros(usage.shape[1])
    for limit in problem.exceeded(counts):
        total += limit.amount.slopes(counts) @ usage / limit.amount.before
    return np.maximum(total, 1e-12)


def _filled(problem: Problem, kept: np.ndarray) -> np.ndarray:
    """Put back whatever still fits, the most important first: the last block that went often saved too much."""
    kept = kept.copy()
    counts = problem.counts(kept)
    while True:
        choices = []
        for number, bundle in enumerate(problem.bundles):
            back = bundle.returnable(int(kept[number]))
            if len(back) and bundle.share is None:
                trial = counts + problem.usage(number, back)
                if problem.is_within(trial):
                    choices.append((bundle.scores[back].sum(), number, len(back), trial))
        if not choices:
            return kept
        _, number, size, counts = max(choices, key=lambda choice: choice[:2])
        kept[number] += size


def _uniform(problem: Problem, share: float) -> np.ndarray:
    """Every bundle with `share` of its channels, rounded down to its step, but no axis under its floor."""
    rounded = [_rounded(len(bundle.scores), share, bundle.step) for bundle in problem.bundles]
    return _raised(problem, np.where(problem.is_decided(), problem.start(), rounded))


def _raised(problem: Problem, kept: np.ndarray) -> np.ndarray:
    """`kept`, and as many more of each bundle as the floors of its axes ask for."""
    kept = kept.copy()
    for number, bundle in enumerate(problem.bundles):
        touched = problem.members[:, bundle.classes].any(1)
        while (problem.counts(kept) < problem.floors)[touched].any() and kept[number] < len(bundle.scores):
            kept[number] += len(bundle.returnable(int(kept[number])))
    return kept


def _rounded(size: int, share: float, step: int) -> int:
    return size if share >= 1 else int(size * share) // step * step


def _missed(limits: list[Limit], counts: np.ndarray) -> BudgetMissed:
    reached = "; ".join(
        f"{limit.text} can be brought to {limit.amount(counts):,.0f}, "
        f"{limit.amount(counts) / limit.amount.before:.3f} of this network's, and not to {limit.most:,.0f}"
        for limit in limits
    )
    return BudgetMissed(f"The network cannot be pruned that far: {reached}.", hint=WAYS_OUT)
