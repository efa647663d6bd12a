"""Measurements: their statistics, and the file that keeps them."""

from __future__ import annotations

import numpy as np
import pytest

from edgepress.accuracy import Accuracy
from edgepress.artifact import Verification
from edgepress.benchmarks import append, read
from edgepress.errors import BadInput
from edgepress.runtime import LayerTime


def test_statistics_of_known_samples(make_measurement):
    measured = make_measurement([float(value) for value in range(1, 102)], batch=4)
    assert measured.median_ms == 51
    assert measured.p90_ms == 91
    assert measured.p99_ms == 100
    assert measured.mean_ms == 51
    assert measured.spread == pytest.approx(50 / 51)
    assert measured.cv == pytest.approx(np.std(range(1, 102)) / 51)
    assert measured.throughput == pytest.approx(4000 / 51)


def test_without_samples_there_are_no_statistics(make_measurement):
    measured = make_measurement([])
    assert (measured.median_ms, measured.p90_ms, measured.cv, measured.spread, measured.throughput) == (
        None,
    ) * 5


def test_an_original_has_been_converted_but_not_compressed(make_measurement):
    assert make_measurement([1.0], steps=("program_to_onnx",)).is_original
    assert not make_measurement([1.0], steps=("prune_channels", "program_to_onnx")).is_original


def test_what_is_appended_is_read_back_whole_and_in_order(make_measurement, tmp_path):
    path = tmp_path / "run" / "measurements.jsonl"
    first = make_measurement(
        [1.25, 0.1 + 0.2],
        accuracy=Accuracy(88.7, 99.5, 10000),
        verification=Verification(status="skipped", results={"reason": "no runtime"}),
        layers=(LayerTime("conv1", "Conv", 0.5),),
        warnings=("busy",),
    )
    second = make_measurement([3.0], name="other.tflite")
    append(path, [first])
    append(path, [second, first])
    assert read(path) == [first, second, first]
    assert len(path.read_text().splitlines()) == 3


def test_a_broken_line_is_named(make_measurement, tmp_path):
    path = tmp_path / "measurements.jsonl"
    append(path, [make_measurement([1.0])])
    with path.open("a") as stream:
        stream.write('{"name": "half')
    with pytest.raises(BadInput, match="Line 2 of measurements.jsonl cannot be read"):
        read(path)
    with pytest.raises(BadInput, match="does not exist"):
        read(tmp_path / "none.jsonl")
