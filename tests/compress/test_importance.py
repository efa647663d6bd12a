"""The scores of channels, each against its formula worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from edgepress.compress._importance import CRITERIA, Group, Slices

FILTERS = Slices("filter", np.array([0, 1]), np.array([[3.0, -4.0], [1.0, 0.0]]))
SWAPPED = Slices("filter", np.array([1, 0]), np.array([[2.0], [-1.0]]))
READERS = Slices("reader", np.array([0, 1]), np.array([[100.0], [100.0]]))
SCALES = Slices("scale", np.array([0, 1]), np.array([[-0.5], [2.0]]))
GROUP = Group(2, (FILTERS, SWAPPED, READERS, SCALES))


@pytest.mark.parametrize(
    ("name", "expected"),
    [("l1", [3 + 4 + 1, 1 + 2]), ("l2", [np.sqrt(9 + 16 + 1), np.sqrt(1 + 4)]), ("bn_scale", [0.5, 2.0])],
)
def test_norms_sum_over_all_makers_and_no_reader(name: str, expected: list[float]) -> None:
    np.testing.assert_allclose(CRITERIA[name](GROUP), expected)


def test_one_tensor_may_hold_several_rows_of_a_channel() -> None:
    twice = Slices("filter", np.array([0, 0, 1]), np.array([[1.0], [2.0], [4.0]]))
    np.testing.assert_allclose(CRITERIA["l1"](Group(2, (twice,))), [3, 4])


def test_taylor_squares_the_sum_over_tensors_and_averages_over_batches() -> None:
    def with_gradients(slices: Slices, *batches: list[list[float]]) -> Slices:
        return Slices(slices.role, slices.places, slices.values, np.array(batches))

    filters = with_gradients(FILTERS, [[1, 1], [2, 0]], [[1, 0], [0, 5]])
    scales = with_gradients(SCALES, [[2], [1]], [[0], [-1]])
    readers = with_gradients(READERS, [[9], [9]], [[9], [9]])
    # Channel 0: (3 - 4) + (-1) and 3 + 0; channel 1: 2 + 2 and 0 - 2.
    expected = [(4 + 9) / 2, (16 + 4) / 2]
    np.testing.assert_allclose(CRITERIA["taylor"](Group(2, (filters, scales, readers))), expected)
