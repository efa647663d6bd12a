"""How many channels of each group stay: the cheapest go first, and no limit, floor or rounding is broken."""

from __future__ import annotations

import numpy as np
import pytest

from edgepress.compress._channels.budget import Bundle, Limit, Problem, search_global, search_uniform
from edgepress.compress._channels.structure import Amount
from edgepress.errors import BudgetMissed

SEARCHES = [search_global, search_uniform]


def problem(
    most: float, *, scores: tuple[float, float] = (1.0, 1.0), step: int = 1, floor: int = 1
) -> Problem:
    """Two groups of eight equally important channels; one of the first costs 1, one of the second 3."""
    members = np.kron(np.eye(2, dtype=np.int32), np.ones(8, np.int32))
    costs = Amount(8 + 3 * 8, np.array([8, 8]), np.array([1.0, 3.0]), np.array([[0], [1]]))
    bundles = tuple(
        Bundle(np.arange(8) + 8 * number, np.full(8, score), step) for number, score in enumerate(scores)
    )
    return Problem(bundles, members, np.full(2, floor), (Limit(costs, most, "the cost"),))


def cost(kept: np.ndarray) -> int:
    return int(kept @ np.array([1, 3]))


@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize("most", [31, 20, 9])
def test_the_limit_holds_and_nothing_more_would_fit(search, most: int) -> None:
    kept = search(problem(most))
    assert cost(kept) <= most
    assert all(kept[number] == 8 or cost(kept) + price > most for number, price in enumerate((1, 3)))


def test_of_equally_important_channels_the_dear_ones_go_first() -> None:
    assert search_global(problem(20)).tolist() == [8, 4]


def test_what_matters_much_more_stays_though_it_is_dear() -> None:
    assert search_global(problem(28, scores=(1.0, 10.0))).tolist() == [4, 8]


def test_uniform_takes_the_same_share_everywhere() -> None:
    assert search_uniform(problem(16, scores=(1.0, 10.0))).tolist() == [4, 4]


@pytest.mark.parametrize("search", SEARCHES)
def test_counts_are_multiples_of_the_step(search) -> None:
    kept = search(problem(22, step=4))
    assert (kept % 4 == 0).all()
    assert 0 < kept.min() < 8


@pytest.mark.parametrize("search", SEARCHES)
def test_the_least_that_can_be_reached_is_said(search) -> None:
    assert search(problem(24, floor=6)).tolist() == [6, 6]
    with pytest.raises(BudgetMissed, match=r"the cost can be brought to 24, 0\.750 .* and not to 23"):
        search(problem(23, floor=6))


def test_an_odd_group_is_first_brought_to_a_multiple() -> None:
    bundle = Bundle(np.arange(10), np.arange(10.0), 4)
    assert bundle.removable(10).tolist() == [0, 1]
    assert bundle.removable(8).tolist() == [2, 3, 4, 5]
    assert bundle.removable(0).tolist() == []
    assert bundle.returnable(8).tolist() == [0, 1]
    assert bundle.returnable(4).tolist() == [2, 3, 4, 5]
