"""Histograms that grow, calibrators against brute force, ranges with an exact zero."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from edgepress.compress._channels.mean import ChannelMean
from edgepress.compress._quantization.calibrators import (
    by_entropy,
    by_error,
    by_percentile,
    minmax,
    moving_average,
)
from edgepress.compress._quantization.histogram import BINS, Histogram
from edgepress.compress._quantization.ranges import Range
from edgepress.errors import BadInput


def histogram(*parts: torch.Tensor, counting: bool = True) -> Histogram:
    made = Histogram(counting=counting)
    for part in parts:
        made.update(part)
    return made


def fake_quantized(values: np.ndarray, range: Range) -> np.ndarray:
    integers = np.clip(np.round(values / range.scale) + range.zero_point, -128, 127)
    return (integers - range.zero_point) * range.scale


def test_counts_everything_while_the_range_grows() -> None:
    parts = [torch.randn(1000) * size for size in (0.01, 1.0, 300.0, 2.0)]
    made = histogram(*parts)
    everything = torch.cat(parts)
    centres, counts = made.values()
    assert counts.sum() == 4000
    assert (made.minimum, made.maximum) == (float(everything.min()), float(everything.max()))
    width = 2 * made.limit / BINS
    mean = float((centres * counts).sum() / 4000)
    assert mean == pytest.approx(float(everything.double().mean()), abs=width)


def test_growing_never_moves_a_value_further_than_its_bin() -> None:
    made = histogram(torch.full((7,), 0.3), torch.full((5,), 100.0))
    centres, counts = made.values()
    assert counts.tolist() == [7, 5]
    assert np.abs(centres - [0.3, 100.0]).max() <= made.limit / BINS


def test_the_moving_average_forgets_one_odd_batch() -> None:
    range = moving_average(histogram(*[torch.tensor([-1.0, 2.0])] * 5, torch.tensor([0.0, 12.0])))
    assert (range.minimum, range.maximum) == pytest.approx((-0.9, 3.0))


def test_entropy_clips_what_is_rare_and_keeps_what_is_not() -> None:
    torch.manual_seed(0)
    normal = torch.randn(200_000)
    outliers = by_entropy(histogram(torch.cat([normal, torch.tensor([60.0, -60.0])])))
    # int8 with an end of 60 has a step of half a standard deviation: too coarse for what occurs.
    assert 2.5 < outliers.maximum < 30
    assert outliers.minimum == -outliers.maximum
    even = by_entropy(histogram(torch.rand(200_000)))
    assert even.minimum == 0
    assert even.maximum == pytest.approx(1, abs=0.02)


def test_memory_does_not_depend_on_the_samples() -> None:
    made = histogram(*(torch.randn(50_000) for _ in range(20)))
    assert made.counts.nbytes == 8 * BINS
    assert made.counts.sum() == 1_000_000


def test_large_counts_stay_exact() -> None:
    assert histogram(torch.ones(2**24 + 3)).counts.sum() == 2**24 + 3


def test_a_tensor_of_zeros_has_a_scale() -> None:
    for calibrate in (
        minmax,
        moving_average,
        by_entropy,
        by_error,
        lambda made: by_percentile(made, percent=99.0),
    ):
        range = calibrate(histogram(torch.zeros(10)))
        assert range.scale > 0
        assert (range.minimum, range.maximum, range.zero_point) == (0.0, 0.0, -128)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_values_that_are_not_finite_are_refused(value: float) -> None:
    with pytest.raises(BadInput, match="not finite"):
        histogram(torch.tensor([0.0, value]))


def test_percentile_is_that_of_the_values() -> None:
    values = torch.randn(100_000)
    range = by_percentile(histogram(values), percent=99.0)
    # A bin is limit / 8192 wide: far below the tolerance.
    assert range.minimum == pytest.approx(float(np.percentile(values, 0.5)), abs=0.01)
    assert range.maximum == pytest.approx(float(np.percentile(values, 99.5)), abs=0.01)
    assert by_percentile(histogram(values), percent=100.0) == minmax(histogram(values))


@pytest.mark.parametrize(
    "values",
    [torch.randn(20_000), torch.randn(20_000).relu() ** 3, torch.rand(20_000) - 0.2],
    ids=["normal", "heavy tail", "uniform"],
)
def test_least_error_is_near_that_of_a_full_search(values: torch.Tensor) -> None:
    array = values.double().numpy()
    found = by_error(histogram(values))
    error = np.mean((fake_quantized(array, found) - array) ** 2)
    shares = np.linspace(0.1, 1.0, 46)
    best = min(
        np.mean((fake_quantized(array, Range(array.min() * low, array.max() * high)) - array) ** 2)
        for low in shares
        for high in shares
    )
    assert error <= 1.03 * best


@pytest.mark.parametrize("ends", [(-1.0, 3.0), (0.0, 6.0), (2.0, 5.0), (-4.0, -1.0), (-1e-9, 1e9)])
def test_zero_is_always_an_integer(ends: tuple[float, float]) -> None:
    range = Range(*ends)
    assert -128 <= range.zero_point <= 127
    assert fake_quantized(np.zeros(1), range)[0] == 0
    for end in (range.minimum, range.maximum):
        assert abs(fake_quantized(np.array([end]), range)[0] - end) <= range.scale * (1 + 1e-6)
    assert range.scale == np.float32(range.scale)


@pytest.mark.parametrize(("shape", "axis"), [((5, 3, 4, 4), 1), ((5, 3), -1), ((5, 7, 3), -1)])
def test_channel_means(shape: tuple[int, ...], axis: int) -> None:
    values, mean = torch.randn(shape), ChannelMean(axis)
    mean.update(values[:2])
    mean.update(values[2:])
    torch.testing.assert_close(mean.value(), values.double().movedim(axis, 0).flatten(1).mean(1))
