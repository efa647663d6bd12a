"""Measurements of emulated devices: instructions in place of times, compared with their like alone."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from edgepress import benchmarks
from edgepress.benchmarks import Measurement, Protocol, ratio
from edgepress.benchmarks._counting import count
from edgepress.benchmarks._page import _fastest_compressed
from edgepress.errors import BadInput, DeviceFailed


@pytest.fixture
def emulated(make_measurement):
    """Makes measurements of an emulated device, with these counts."""
    timed = make_measurement([1.0])
    nothing = dict.fromkeys(("load_ms", "first_inference_ms", "cpu_ms"))

    def make(*instructions: int, **facts: object) -> Measurement:
        return dataclasses.replace(
            timed, latency_ms=(), layers=(), emulated=True, instructions=instructions, **nothing, **facts
        )

    return make


@pytest.mark.parametrize(
    "times", [{"latency_ms": (1.0,)}, {"load_ms": 1.0}, {"first_inference_ms": 1.0}, {"cpu_ms": 1.0}]
)
def test_an_emulated_measurement_with_a_time_cannot_be_made(emulated, times) -> None:
    with pytest.raises(ValueError, match="no times"):
        dataclasses.replace(emulated(5), **times)


def test_a_time_with_instructions_cannot_be_made(make_measurement) -> None:
    with pytest.raises(ValueError, match="emulated devices only"):
        dataclasses.replace(make_measurement([1.0]), instructions=(5,))


def test_a_file_with_an_emulated_time_is_refused(emulated, tmp_path: Path) -> None:
    path = tmp_path / "measurements.jsonl"
    benchmarks.append(path, [emulated(5)])
    assert benchmarks.read(path) == [emulated(5)]
    path.write_text(path.read_text().replace('"load_ms":null', '"load_ms":1.5'))
    with pytest.raises(BadInput, match="no times"):
        benchmarks.read(path)


def test_the_ratio_is_of_instructions_with_their_extremes(emulated) -> None:
    found = ratio(emulated(100, 101, 99), emulated(50, 51, 50))
    assert (found.value, found.low, found.high) == (0.5, 50 / 101, 51 / 99)
    assert emulated(100, 101, 99).instruction_spread == 0.02


def test_instructions_and_times_have_no_ratio(emulated, make_measurement) -> None:
    assert not benchmarks.are_comparable(emulated(100), make_measurement([1.0]))
    with pytest.raises(ValueError, match="both sides"):
        ratio(emulated(100), make_measurement([1.0]))


def test_the_table_says_that_they_are_emulated_and_nothing_is_the_fastest(emulated) -> None:
    smaller = emulated(50_000_000, path="smaller.onnx", steps=("quantize_static",))
    table = benchmarks.comparison_table([emulated(100_000_000), smaller])
    assert table.columns[-1] == "instructions (emulated)"
    cells = dict(zip(table.columns, table.cells()[1], strict=True))
    assert (cells["median ms"], cells["× original"], cells["instructions (emulated)"]) == (
        "–",
        "0.50",
        "50.00 M",
    )
    assert _fastest_compressed(table) is None


def test_nothing_is_counted_where_nobody_counts(make_runner) -> None:
    with pytest.raises(DeviceFailed, match="Instructions cannot be counted"):
        count([make_runner("one")], Protocol())
