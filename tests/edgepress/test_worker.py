"""Calls with arrays to a process that stays: answers, errors, and its end."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edgepress.isolation import LONGEST_SECONDS
from edgepress.worker import ToolFailed, Worker

SESSION = """
import os, signal, sys
import numpy as np

class Session:
    def __init__(self, factor):
        if factor == "none": raise ValueError("no factor\\nand more")
        if factor == "ever": self.hang()
        self.factor = float(factor)
        print("a tool that prints")
    def load(self, *arrays): self.arrays = arrays
    def multiply(self): return [array * array.dtype.type(self.factor) for array in self.arrays]
    def fail(self): raise RuntimeError("it cannot")
    def hang(self):
        while True: signal.pause()
    def die(self):
        print("last words", file=sys.stderr, flush=True)
        os.abort()
"""


def made(folder: Path, factor: str, seconds: float = LONGEST_SECONDS) -> Worker:
    script = folder / "session.py"
    script.write_text(SESSION)
    return Worker(script, factor, python=Path(sys.executable), folder=folder, seconds=seconds)


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Worker]:
    found = made(tmp_path, "2")
    yield found
    found.close()


def test_arrays_come_back_as_they_are(worker: Worker) -> None:
    given = (np.arange(6, dtype=np.float32).reshape(2, 3).T, np.array(3, np.int64), np.zeros((0, 4), np.int8))
    assert worker.call("load", *given) == ()
    results = worker.call("multiply")
    for got, array in zip(results, given, strict=True):
        assert got.dtype == array.dtype
        np.testing.assert_array_equal(got, array * 2)


def test_an_error_is_told_and_the_process_stays(worker: Worker) -> None:
    with pytest.raises(ToolFailed, match="^it cannot$"):
        worker.call("fail")
    worker.call("load", np.ones(1))
    assert worker.call("multiply")[0] == [2.0]


def test_a_crash_is_told_with_the_last_words(worker: Worker) -> None:
    for _ in range(2):
        with pytest.raises(ToolFailed, match=r"last words \(signal 6 \(SIGABRT\)\)"):
            worker.call("die")


def test_what_cannot_be_made_is_told(tmp_path: Path) -> None:
    with pytest.raises(ToolFailed, match="^no factor$"):
        made(tmp_path, "none")
    with pytest.raises(ToolFailed, match="does not start"):
        Worker(tmp_path / "session.py", python=tmp_path / "absent", folder=tmp_path)


def test_what_hangs_as_it_is_made_is_ended(tmp_path: Path) -> None:
    with pytest.raises(ToolFailed, match=r"^it took more than 0\.5 s$"):
        made(tmp_path, "ever", seconds=0.5)


def test_a_call_that_hangs_is_ended(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "_seconds", 0.1)
    with pytest.raises(ToolFailed, match=r"^it took more than 0\.1 s$"):
        worker.call("hang")
    with pytest.raises(ToolFailed, match="SIGKILL"):
        worker.call("multiply")
