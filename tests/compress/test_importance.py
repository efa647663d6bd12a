"""The scores of channels, each against its formula worked out by hand, and what must not change them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from edgepress.compress._channels.group import Group, Slices
from edgepress.compress._channels.importance import CRITERIA, criterion
from edgepress.errors import UnsupportedModel

FILTERS = Slices("filter", np.array([0, 1]), np.array([[3.0, -4.0], [1.0, 0.0]]))
SWAPPED = Slices("filter", np.array([1, 0]), np.array([[2.0], [-1.0]]))
READERS = Slices("reader", np.array([0, 1]), np.array([[100.0, 100.0]]), axis=1)
SCALES = Slices("scale", np.array([0, 1]), np.array([-0.5, 2.0]))
SHIFTS = Slices("shift", np.array([0, 1]), np.array([1.0, 3.0]))
SEEN = np.array([[1.0, 4.0], [3.0, 0.0]])
GROUP = Group(2, (FILTERS, SWAPPED, READERS, SCALES, SHIFTS), observed=SEEN)


def score(name: str, group: Group) -> np.ndarray:
    return CRITERIA[name].score(group)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("l1", [3 + 4 + 1, 1 + 2]),
        ("l2", [np.sqrt(9 + 16 + 1), np.sqrt(1 + 4)]),
        # Two filters to a layer: both are as far from each other.
        ("geometric_median", [np.sqrt(4 + 16) + 3, np.sqrt(4 + 16) + 3]),
        ("bn_scale", [0.5, 2.0]),
        ("fisher", [(1 + 9) / 2 / 2, (16 + 0) / 2 / 2]),
        ("activation", [2, 2]),
    ],
)
def test_a_score_adds_up_over_all_that_makes_a_channel(name: str, expected: list[float]) -> None:
    np.testing.assert_allclose(score(name, GROUP), expected)


def test_taylor_squares_the_sum_over_everything_but_the_readers() -> None:
    gradients = {
        id(FILTERS): [[1.0, 1.0], [2.0, 0.0]],
        id(SWAPPED): [[1.0], [0.0]],
        id(READERS): [[9.0, 9.0]],
        id(SCALES): [2.0, 1.0],
    }
    slices = [
        dataclasses.replace(part, gradient=np.array(gradients[id(part)]) if id(part) in gradients else None)
        for part in GROUP.slices
    ]
    # Channel 0: (3 - 4) + 0 - 1; channel 1: 2 + 2 + 2. The shifts have no gradient.
    np.testing.assert_allclose(score("taylor", Group(2, tuple(slices))), [4, 36])


def test_one_tensor_may_hold_several_rows_of_a_channel_and_rows_of_other_groups() -> None:
    tensor = np.array([[1.0], [2.0], [50.0], [4.0]])
    group = Group(2, (Slices("filter", np.array([0, 0, 1]), tensor, rows=np.array([0, 1, 3])),))
    np.testing.assert_allclose(score("l1", group), [3, 4])
    # The median is the whole layer's: 1 + 49 + 3 and 1 + 48 + 2 for the first channel, 3 + 2 + 46 for the second.
    np.testing.assert_allclose(score("geometric_median", group), [104, 51])


@pytest.mark.parametrize("name", ["l1", "l2", "geometric_median"])
def test_a_layer_scaled_scales_its_scores(name: str) -> None:
    tensor = np.random.default_rng(0).standard_normal((6, 3, 3))
    groups = [Group(6, (Slices("filter", np.arange(6), factor * tensor),)) for factor in (1, 3)]
    np.testing.assert_allclose(score(name, groups[1]), 3 * score(name, groups[0]))


def test_filters_that_others_can_replace_are_the_least_by_geometric_median() -> None:
    tensor = np.random.default_rng(0).standard_normal((8, 30))
    tensor[2] = tensor[5] = tensor[7]
    lowest = np.argsort(score("geometric_median", Group(8, (Slices("filter", np.arange(8), tensor),))))[:3]
    assert sorted(lowest.tolist()) == [2, 5, 7]


def test_chance_can_be_repeated_and_differs_from_seed_to_seed_and_group_to_group() -> None:
    scores = [score("random", Group(50, seed=seed)) for seed in ((1, 0), (1, 0), (2, 0), (1, 1))]
    np.testing.assert_array_equal(scores[0], scores[1])
    assert len({found.tobytes() for found in scores}) == 3
    assert 0 <= scores[0].min() < 0.2 < 0.8 < scores[0].max() <= 1


def test_only_what_looks_at_data_asks_for_it() -> None:
    asking = {name for name, found in CRITERIA.items() if found.needs_data}
    assert asking == {"taylor", "fisher", "activation"}


def test_a_group_without_what_the_criterion_measures_is_named() -> None:
    with pytest.raises(UnsupportedModel, match="needs a batch-norm behind the layer") as raised:
        score("bn_scale", Group(2, (FILTERS,), name="features.0"))
    assert "features.0" in str(raised.value)


def test_a_function_with_the_decorator_is_a_criterion(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgepress.compress._channels.importance.CRITERIA", listed := {})

    @criterion("gradients")
    def fresh(group: Group) -> np.ndarray:
        return np.ones(group.size)

    assert listed["fresh"].needs_data
    np.testing.assert_array_equal(listed["fresh"].score(Group(3)), np.ones(3))
