"""Anchors, decoding and suppression, against cases worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgepress import detection, models
from edgepress.detection import Anchored, Gridded, Level, Regions, Selection

SQUARES = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30], [3, 3, 3, 3]], np.float32)


def test_overlap_is_the_shared_area_of_the_joined_one() -> None:
    found = detection.overlaps(SQUARES, SQUARES)
    assert found[0, 0] == 1
    assert found[0, 1] == pytest.approx(50 / 150)
    assert found[0, 2] == 0
    assert found[3, 3] == 0, "a box without area overlaps nothing"


def test_offsets_move_by_shares_of_the_sides_and_grow_by_exponentials() -> None:
    offsets = np.array([[1.0, -2.0, 5 * math.log(2), 0.0]], np.float32)
    (box,) = detection.decoded(offsets, np.array([[0, 0, 10, 20]], np.float32), (10, 10, 5, 5))
    # The centre (5, 10) goes by (0.1 x 10, -0.2 x 20); the width doubles.
    np.testing.assert_allclose(box, [6 - 10, 6 - 10, 6 + 10, 6 + 10], rtol=1e-6)


def test_no_offset_overflows() -> None:
    huge = np.full((1, 4), 1e4, np.float32)
    assert np.isfinite(detection.decoded(huge, SQUARES[:1], (1, 1, 1, 1))).all()


def test_suppression_keeps_the_best_of_each_class() -> None:
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [0, 0, 10, 9], [40, 0, 50, 10]], np.float32)
    scores, classes = np.array([0.8, 0.9, 0.7, 0.1]), np.array([0, 0, 1, 0])
    assert detection.suppressed(boxes, scores, classes, 0.5).tolist() == [1, 2, 3]
    assert detection.suppressed(boxes, scores, np.zeros(4), 0.5).tolist() == [1, 3]
    assert detection.suppressed(boxes, scores, classes, 0.99).tolist() == [1, 0, 2, 3]
    assert detection.suppressed(boxes[:0], scores[:0], classes[:0], 0.5).tolist() == []


def test_a_box_that_went_suppresses_nothing() -> None:
    """A chain of boxes, each of which overlaps its neighbours alone: every second one stays."""
    boxes = np.array([[4 * place, 0, 4 * place + 10, 10] for place in range(4)], np.float32)
    scores = np.array([0.9, 0.8, 0.7, 0.6])
    assert detection.suppressed(boxes, scores, np.zeros(4), 0.4).tolist() == [0, 2]


def test_anchors_lie_row_by_row() -> None:
    level = Level(2, 3, (8, 4), ((2, 4),))
    boxes = level.boxes()
    assert boxes.shape == (6, 4)
    assert boxes[0].tolist() == [2 - 1, 4 - 2, 2 + 1, 4 + 2]
    assert boxes[1].tolist() == [6 - 1, 4 - 2, 6 + 1, 4 + 2]
    assert boxes[3].tolist() == [2 - 1, 12 - 2, 2 + 1, 12 + 2]


def test_an_anchored_detector_is_read() -> None:
    reading = Anchored(size=(16, 16), levels=(Level(2, 2, (8, 8), ((8, 8),)),), select=Selection(score=0.5))
    logits = np.zeros((2, 4, 3), np.float32)
    logits[0, 3] = (0, 0, 9)
    nothing, offsets = np.full((4, 3), (9.0, 0, 0), np.float32), np.zeros((2, 4, 4), np.float32)
    logits[0, :3], logits[1] = nothing[:3], nothing
    first, second = reading.decode((logits, offsets))
    assert first.boxes.tolist() == [[8, 8, 16, 16]]
    assert first.classes.tolist() == [1], "the background is no class"
    assert first.scores[0] == pytest.approx(math.exp(9) / (math.exp(9) + 2), rel=1e-5)
    assert len(second) == 0


@pytest.mark.parametrize(("scoring", "expected"), [("softmax", 1 / (1 + math.exp(-4))), ("sigmoid", 0.8808)])
def test_a_grid_is_read(scoring: str, expected: float) -> None:
    reading = Gridded(size=(64, 64), shapes=(((16, 8),),), scoring=scoring, select=Selection(score=0.5))
    cells = np.zeros((1, 1 * 7, 2, 2), np.float32)
    cells[0, 4] = -9
    cells[0, :, 1, 0] = (0, 0, math.log(2), 0, 9, 2, -2)
    (found,) = reading.decode((cells,))
    # The middle of the lower left cell; twice as wide as its anchor.
    np.testing.assert_allclose(found.boxes, [[0, 48 - 4, 16 + 16, 48 + 4]], atol=1e-4)
    assert found.classes.tolist() == [0]
    assert found.scores[0] == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("agnostic", [True, False])
def test_regions_are_read(agnostic: bool) -> None:
    regions = np.array([[[0, 0, 10, 10], [2, 2, 4, 4]]], np.float32)
    logits = np.array([[[0, 9, 0], [9, 0, 0]]], np.float32)
    offsets = np.zeros((1, 2, 4 if agnostic else 12), np.float32)
    offsets[0, 0, 0 if agnostic else 4] = 1
    (found,) = Regions(size=(20, 20), select=Selection(score=0.5)).decode((logits, offsets, regions))
    np.testing.assert_allclose(found.boxes, [[1, 0, 11, 10]], atol=1e-6)
    assert found.classes.tolist() == [0]


def test_boxes_end_with_the_picture_and_the_best_are_kept() -> None:
    boxes = np.array([[-5, 0, 10, 10], [50, 50, 90, 90], [20, 0, 30, 10]], np.float32)
    scores = np.array([[0.9], [0.7], [0.8]], np.float32)
    found = Selection(most=2).of(boxes, scores, (60, 60))
    assert found.boxes.tolist() == [[0, 0, 10, 10], [20, 0, 30, 10]]
    assert len(Selection(candidates=1).of(boxes, scores, (60, 60))) == 1


@pytest.mark.parametrize(
    ("name", "count"), [("ssd300", 8732), ("dssd321", 17_080), ("retinanet_resnet50_fpn", 120_087)]
)
def test_there_are_as_many_anchors_as_published(name: str, count: int) -> None:
    import torch

    with torch.device("meta"):
        reading = models.find(name)().reading
    assert len(detection.anchors(reading.levels)) == count
