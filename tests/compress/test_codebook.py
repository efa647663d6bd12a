"""Codebooks: the least error there is, the paper's own initialisations, and what a price for bits buys."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from edgepress.compress._sharing import codebook
from edgepress.compress._sharing.codebook import Codebook, Points

RANDOM = np.random.default_rng(0)
HEAVY_TAILED = RANDOM.standard_t(4, 20_000)


def lost(points: np.ndarray, book: Codebook, importance: np.ndarray | float = 1.0) -> float:
    return float((importance * (points - book.values[book.indices(points)]) ** 2).sum())


def best_of_all(points: np.ndarray, size: int, importance: np.ndarray) -> float:
    """The least error over every division of a few sorted points into runs."""

    def of_run(begin: int, end: int) -> float:
        values, weights = points[begin:end], importance[begin:end]
        return float((weights * (values - np.average(values, weights=weights)) ** 2).sum())

    divisions = itertools.combinations(range(1, len(points)), size - 1)
    return min(
        sum(itertools.starmap(of_run, itertools.pairwise((0, *splits, len(points))))) for splits in divisions
    )


@pytest.mark.parametrize("size", [2, 3, 5])
def test_no_other_clusters_lose_less(size: int) -> None:
    points, importance = np.sort(RANDOM.standard_normal(12)), RANDOM.uniform(0.1, 3, 12)
    book = Points.of(points, importance).of_size(size)
    # Rounding the values to 11 bits costs a share of the error that is of second order in 1 in 4,000.
    assert lost(points, book, importance) == pytest.approx(best_of_all(points, size, importance), rel=1e-3)
    assert book.error == pytest.approx(lost(points, book, importance))


def test_many_points_come_close_to_lloyd_and_maxs_quantizer() -> None:
    """Of a normal distribution, 8 levels lose 0.03454 and 32 lose 0.00250 of its variance (Max, 1960)."""
    points = RANDOM.standard_normal(200_000)
    for size, least in ((8, 0.03454), (32, 0.002499)):
        book = Points.of(points).of_size(size)
        # The standard deviation of a mean of 200,000 squares is 0.3 %, and the points are those of the sample.
        assert lost(points, book) / (points**2).sum() == pytest.approx(least, rel=0.02)


def test_the_papers_initialisations_end_no_better() -> None:
    points = Points.of(HEAVY_TAILED)
    errors = {kind: points.of_size(64, kind).error for kind in ("optimal", "linear", "density", "random")}
    assert errors["optimal"] == min(errors.values())
    assert errors["optimal"] < 0.7 * errors["density"]
    assert len(set(errors.values())) == 4


def test_a_random_start_is_its_seeds() -> None:
    points = Points.of(HEAVY_TAILED)
    assert points.of_size(8, "random", seed=1).error == points.of_size(8, "random", seed=1).error
    assert points.of_size(8, "random", seed=1).error != points.of_size(8, "random", seed=2).error


def test_as_few_values_as_are_asked_for_stay_as_they_are() -> None:
    points = RANDOM.choice([-0.7, 0.1234567, 2.0], 50)
    book = Points.of(points).of_size(4)
    assert np.array_equal(book.values[book.indices(points)], points)
    assert book.error == 0


def test_values_have_eleven_bits() -> None:
    for values in (
        Points.of(HEAVY_TAILED * 1e-20).of_size(32).values,
        Points.of(HEAVY_TAILED).at_price(1.0).values,
    ):
        bits = values.astype(np.float32).view(np.uint32)
        assert not (bits & (1 << 24 - codebook.SIGNIFICANT_BITS) - 1).any()
        assert np.array_equal(values.astype(np.float32), values) or values.max() < 1e-18


def test_no_division_costs_less_at_a_price() -> None:
    points, price = np.sort(RANDOM.standard_normal(9)), 0.02

    def cost(splits: tuple[int, ...]) -> float:
        total = 0.0
        for begin, end in itertools.pairwise((0, *splits, len(points))):
            run = points[begin:end]
            bits = len(run) * np.log2(len(points) / len(run)) + codebook.ENTRY_BITS
            total += ((run - run.mean()) ** 2).sum() + price * bits
        return total

    sizes = range(len(points))
    least = min(
        cost(splits) for size in sizes for splits in itertools.combinations(range(1, len(points)), size)
    )
    book = Points.of(points).at_price(price)
    assert book.error + price * book.code_bits == pytest.approx(least, rel=1e-3)
    assert 1 < len(book.values) < len(points)


def test_a_price_buys_more_than_equal_bits() -> None:
    """The same bytes, less error: values of the tails are rare, and their long codes cost little."""
    points = Points.of(HEAVY_TAILED)
    fixed = points.of_size(16)
    paid = min(
        (points.at_price(2.0**exponent) for exponent in np.arange(-6, 6, 0.25)),
        key=lambda book: (book.code_bits > fixed.code_bits, book.error),
    )
    assert paid.code_bits <= fixed.code_bits
    assert paid.error < 0.8 * fixed.error


def test_importance_draws_values_to_what_matters() -> None:
    points = np.sort(RANDOM.uniform(-1, 1, 3000))
    importance = np.where(points > 0, 100.0, 1.0)
    book = Points.of(points, importance).of_size(16)
    assert (book.values > 0).sum() > 10
