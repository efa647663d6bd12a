"""How far two executors depart: the figures, and when a file counts as wrong."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from edgepress.detection import Gridded, Listed
from edgepress.errors import BadInput, VerificationFailed
from edgepress.runtime import compare, limit_agreement, limit_db

BATCHES = [(np.eye(4, dtype=np.float32),), (2 * np.eye(4, dtype=np.float32)[:2],)]


def identity(array: np.ndarray) -> tuple[np.ndarray, ...]:
    return (array,)


def test_equal_outputs() -> None:
    comparison = compare(identity, identity, BATCHES)
    assert (comparison.samples, comparison.max_error, comparison.top1_agreement) == (6, 0.0, 100.0)
    assert comparison.sqnr_db == math.inf


def test_a_known_error() -> None:
    """Signal 4 * 1 + 2 * 4 = 12; every value is off by a tenth of itself: SQNR is 20 dB."""
    comparison = compare(identity, lambda array: (array * np.float32(0.9),), BATCHES)
    assert comparison.sqnr_db == pytest.approx(20, abs=1e-4)
    assert comparison.max_error == pytest.approx(0.2, abs=1e-6)
    assert comparison.relative_error == pytest.approx(0.1, abs=1e-6)
    comparison.require(19.9, where="here")
    with pytest.raises(VerificationFailed, match=r"20\.0 dB, limit 20\.1 dB"):
        comparison.require(20.1, where="here")


def test_agreement_counts_the_highest_output() -> None:
    assert compare(identity, lambda array: (array[:, ::-1],), BATCHES).top1_agreement == 0
    assert (
        compare(identity, lambda array: (np.roll(array, len(array) // 4, 1),), BATCHES[1:]).top1_agreement
        == 100
    )


@pytest.mark.parametrize(
    "wrong", [lambda array: (array[:, :2],), lambda array: (array, array), lambda array: (array * np.nan,)]
)
def test_outputs_that_cannot_be_right(wrong: object) -> None:
    with pytest.raises(VerificationFailed):
        compare(identity, wrong, BATCHES)


def test_nothing_to_compare() -> None:
    with pytest.raises(BadInput, match="nothing to compare"):
        compare(identity, identity, [])


def test_limits_fall_with_precision() -> None:
    limits = [limit_db("float32", kind) for kind in ("float32", "float16", "int8")]
    assert limits == sorted(limits, reverse=True)
    assert limit_db("int8", "int8") > limit_db("float32", "int8")


def test_a_large_output_hides_no_small_one() -> None:
    large, small = np.full((2, 1000), 100, np.float32), np.ones((2, 3), np.float32)
    comparison = compare(lambda _: (large, small), lambda _: (large, small * np.float32(0.9)), BATCHES[:1])
    assert comparison.sqnr_db == pytest.approx(20, abs=0.01)
    assert comparison.output_sqnr_db == (math.inf, comparison.sqnr_db)


def detector(*rows: int, by: float = 1) -> Callable[[np.ndarray], tuple[np.ndarray, ...]]:
    """Gives three boxes, whatever it is shown, in the order of `rows`, with scores of so much."""
    boxes = np.float32([[0, 0, 10, 10], [20, 20, 60, 60], [5, 30, 25, 40]])
    scores, classes = np.float32([0.9, 0.8, 0.7]) * np.float32(by), np.float32([0, 1, 0])

    def run(pictures: np.ndarray) -> tuple[np.ndarray, ...]:
        return tuple(np.repeat(each[list(rows)][None], len(pictures), 0) for each in (boxes, scores, classes))

    return run


def test_where_rows_are_ranked_what_is_found_counts() -> None:
    swapped = compare(detector(0, 1, 2), detector(1, 0, 2), BATCHES, Listed())
    assert swapped.sqnr_db < 10
    assert swapped.found_agreement == pytest.approx(100)
    assert swapped.within(20, 99.9)
    assert not swapped.within(20), "by rows alone"
    fainter = compare(detector(0, 1, 2), detector(1, 0, 2, by=0.5), BATCHES, Listed())
    assert fainter.found_agreement == pytest.approx(100 * 0.5 / 0.75)
    with pytest.raises(VerificationFailed, match=r"found agrees by 66\.7 %, limit 80\.0 %"):
        fainter.require(20, 80, where="here")


def test_other_networks_have_no_agreement() -> None:
    places = Gridded(size=(8, 8), shapes=(((4.0, 4.0),),))
    assert compare(identity, identity, BATCHES).found_agreement is None
    assert compare(identity, identity, BATCHES, places).found_agreement is None


def test_limits_of_agreement_fall_with_precision() -> None:
    limits = [limit_agreement("float32", kind) for kind in ("float32", "float16", "int8")]
    assert limits == sorted(limits, reverse=True)
