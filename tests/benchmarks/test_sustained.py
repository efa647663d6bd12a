"""Running on and on: windows that cover the time, and the last over the first as what was lost."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from edgepress.benchmarks import MEASUREMENTS_FILE, Protocol, append, compare, read
from edgepress.benchmarks._counting import count
from edgepress.benchmarks._sustained import WINDOWS, sustained
from edgepress.cli import run
from edgepress.errors import UnsupportedTarget


def test_windows_follow_what_was_measured() -> None:
    times = itertools.count(1)
    windows = sustained(lambda: float(next(times)), 0.01)
    assert len(windows) == WINDOWS
    assert sum(window.runs for window in windows) == next(times) - 1
    medians = [window.median_ms for window in windows]
    assert medians == sorted(medians)
    assert [window.start_s for window in windows] == sorted(window.start_s for window in windows)


def test_nothing_is_run_on_and_on_unasked() -> None:
    assert sustained(lambda: pytest.fail("it was run"), 0.0) == ()


def test_a_measurement_keeps_them(make_runner, tmp_path: Path) -> None:
    protocol = Protocol(min_runs=10, min_seconds=0, rounds=2, sustain_seconds=0.02, cool_down_seconds=0.001)
    (measured,) = compare([make_runner("one")], protocol)
    append(tmp_path / MEASUREMENTS_FILE, [measured])
    (kept,) = read(tmp_path / MEASUREMENTS_FILE)
    assert kept.sustained == measured.sustained
    assert kept.slowdown == kept.sustained[-1].median_ms / kept.sustained[0].median_ms


def test_an_emulated_device_does_not_get_hot(make_runner) -> None:
    with pytest.raises(UnsupportedTarget, match="heat up"):
        count([make_runner("one")], Protocol(sustain_seconds=1.0))


@pytest.mark.parametrize("text", ["10", "m", "ten m", "1d", ""])
def test_lengths_of_time_that_are_none(
    text: str, make_runner, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["benchmark", str(tmp_path / "x.onnx"), "--sustain", text]) == 2
    assert "not a duration" in capsys.readouterr().err
