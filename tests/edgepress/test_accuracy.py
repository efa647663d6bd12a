"""Accuracy, against scores whose ranks are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgepress.accuracy import evaluate
from edgepress.data import Data, open_data
from edgepress.errors import BadInput


def scores(tmp_path: Path, rows: list[list[float]], labels: list[int] | None) -> Data:
    """Data whose inputs are the scores themselves, for a network that returns its input."""
    text = f"""
import numpy as np
def batches():
    x = np.array({rows!r}, np.float32) if {bool(rows)} else np.zeros((0, 3), np.float32)
    return [(x, np.array({labels!r}))] if {labels is not None} else [(x,)]
"""
    (tmp_path / "scores.py").write_text(text.replace("nan", "np.nan"))
    return open_data(f"{tmp_path / 'scores.py'}:batches")


def identity(x: np.ndarray) -> tuple[np.ndarray, ...]:
    return (x,)


def test_top1_and_top5(tmp_path: Path) -> None:
    row = [9.0, 8, 7, 6, 5, 4, 3]
    found = evaluate(identity, scores(tmp_path, [row] * 4, [0, 4, 5, 6]), None)
    assert (found.top1, found.top5, found.samples) == (25.0, 50.0, 4)


def test_of_equal_scores_the_first_wins(tmp_path: Path) -> None:
    rows = [[1.0, 1, 0], [1.0, 1, 0], [0.0, 0, 0]]
    assert evaluate(identity, scores(tmp_path, rows, [0, 1, 0]), None).top1 == pytest.approx(200 / 3)
    assert np.argmax(np.array(rows), axis=1).tolist() == [0, 0, 0]


def test_nan_is_never_right_by_chance(tmp_path: Path) -> None:
    rows = [[99.0] * 7, [1.0, 99, 0, 0, 0, 0, 0]]

    def run(x: np.ndarray) -> tuple[np.ndarray, ...]:
        return (np.where(x == 99, np.float32("nan"), x),)

    found = evaluate(run, scores(tmp_path, rows, [3, 0]), None)
    assert (found.top1, found.top5) == (0.0, 50.0)


def test_limit_and_progress(tmp_path: Path) -> None:
    told: list[tuple[int, int | None]] = []
    data = scores(tmp_path, [[1.0, 0]] * 200, [0] * 150 + [1] * 50)
    found = evaluate(
        identity,
        data,
        None,
        limit=150,
        progress=lambda _, done, total: told.append((done, total)),
    )
    assert (found.top1, found.samples) == (100.0, 150)
    assert told[-1] == (3, 3)


def test_scores_with_pixels_of_one(tmp_path: Path) -> None:
    data = scores(tmp_path, [[1.0, 0]] * 2, [0, 1])
    assert evaluate(lambda x: (x[:, :, None, None],), data, None).top1 == 50.0


def test_what_cannot_be_evaluated(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="needs labels"):
        evaluate(identity, scores(tmp_path, [[1.0, 0]], None), None)
    with pytest.raises(BadInput, match="label 7 has no score: the network scores 2"):
        evaluate(identity, scores(tmp_path, [[1.0, 0]] * 2, [0, 7]), None)
    with pytest.raises(BadInput, match="no samples to evaluate"):
        evaluate(identity, scores(tmp_path, [[1.0, 0]], [0]), None, limit=0)
    with pytest.raises(BadInput, match="samples x classes"):
        evaluate(lambda x: (x[:, :, None].repeat(2, 2),), scores(tmp_path, [[1.0, 0]], [0]), None)
