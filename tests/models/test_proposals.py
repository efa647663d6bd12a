"""Regions proposed and cut out by tensor operations, against plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from edgepress import detection
from edgepress.detection import Level
from edgepress.models import _proposals
from edgepress.models._proposals import Cells, Parts, Proposals


def interpolated(image: np.ndarray, y: float, x: float) -> np.ndarray:
    """The values of channels x height x width at a point; beyond the edge those of the edge."""
    y, x = min(max(y, 0.0), image.shape[1] - 1), min(max(x, 0.0), image.shape[2] - 1)
    top, left = math.floor(y), math.floor(x)
    below, right = min(top + 1, image.shape[1] - 1), min(left + 1, image.shape[2] - 1)
    dy, dx = y - top, x - left
    upper = image[:, top, left] * (1 - dx) + image[:, top, right] * dx
    lower = image[:, below, left] * (1 - dx) + image[:, below, right] * dx
    return upper * (1 - dy) + lower * dy


def cell(image: np.ndarray, region: np.ndarray, place: tuple[int, int], cells: int) -> np.ndarray:
    """The mean of four points of one cell of a region, which is in places of the image."""
    left, top = region[:2]
    width, height = (max(region[2 + axis] - region[axis], 1.0) / cells for axis in (0, 1))
    points = [
        interpolated(image, top + (place[0] + down) * height, left + (place[1] + across) * width)
        for down in (0.25, 0.75)
        for across in (0.25, 0.75)
    ]
    return np.mean(points, 0)


REGIONS = np.array([[3, 5, 40, 30], [0, 0, 128, 128], [100, 90, 127, 128], [60, 60, 60, 60]], np.float32)


def test_cells_are_what_a_loop_gives() -> None:
    random = np.random.default_rng(0)
    maps = [random.standard_normal((2, 3, side, side)).astype(np.float32) for side in (32, 16, 8, 4)]
    tensors = [torch.from_numpy(level) for level in maps]
    got = Cells(3, (32, 16, 8, 4), 128)(tensors, torch.from_numpy(np.stack([REGIONS, REGIONS[::-1]])))
    assert got.shape == (2, 4, 3, 3, 3)
    for number, region in enumerate(REGIONS):
        area = max((region[2] - region[0]) * (region[3] - region[1]), 1e-6)
        level = min(max(math.floor(4 + math.log2(math.sqrt(area) / 224)), 2), 5) - 2
        for row in range(3):
            for column in range(3):
                for batch, place in ((0, number), (1, 3 - number)):
                    expected = cell(maps[level][batch], region / 4 / 2**level, (row, column), 3)
                    # float32 against float64 loops
                    np.testing.assert_allclose(got[batch, place, :, row, column], expected, atol=1e-4)


def test_parts_are_what_a_loop_gives() -> None:
    parts, values = 3, 2
    image = np.random.default_rng(1).standard_normal((2, parts**2 * values, 8, 8)).astype(np.float32)
    regions = np.stack([REGIONS, REGIONS[::-1]])
    got = Parts(parts, 8, 128)(torch.from_numpy(image), torch.from_numpy(regions))
    assert got.shape == (2, 4, values)
    for batch in range(2):
        for number, region in enumerate(regions[batch]):
            each = [
                cell(image[batch], region / 16, divmod(part, parts), parts)[
                    part * values : (part + 1) * values
                ]
                for part in range(parts**2)
            ]
            np.testing.assert_allclose(got[batch, number], np.mean(each, 0), atol=1e-4)


def test_boxes_are_decoded_as_beside_the_graph() -> None:
    random = np.random.default_rng(2)
    boxes = np.abs(REGIONS)
    offsets = random.standard_normal(boxes.shape).astype(np.float32)
    expected = detection.clipped(detection.decoded(offsets, boxes, _proposals.WEIGHTED), (128, 128))
    got = _proposals.decode(torch.from_numpy(offsets), torch.from_numpy(boxes), _proposals.WEIGHTED, 128)
    np.testing.assert_allclose(got, expected, atol=1e-4)


def test_the_best_regions_come_first_and_their_rivals_last() -> None:
    """Three anchors of one level lie on one another but for a pixel, and a worse one stands alone."""
    level = Level(1, 4, (10, 1), ((20, 10),))
    alone = Level(1, 1, (10, 10), ((4, 4),), offset=6.0)
    logits = [torch.tensor([[1.0, 3.0, 2.0, 0.0]]), torch.tensor([[-1.0]])]
    offsets = [torch.zeros(1, 4, 4), torch.zeros(1, 1, 4)]
    (found,) = Proposals([level, alone], 100, 3)(logits, offsets)
    first = torch.from_numpy(detection.clipped(level.boxes(), (100, 100)))
    assert torch.equal(found[0], first[1])
    assert found[1].tolist() == [58, 58, 62, 62]
    assert torch.equal(found[2], first[2]), "of those that went, the best"


def test_of_equal_scores_the_first_comes_first() -> None:
    scores = torch.tensor([[1.0, 2.0, 2.0, 2.0, 1.0]])
    assert _proposals.sorted_places(scores, 4)[1].tolist() == [[1, 2, 3, 0]]


@pytest.mark.parametrize("shift", [1.0, 5.0])
def test_a_rival_overlaps_by_more_than_the_limit(shift: float) -> None:
    boxes = torch.tensor([[[0.0, 0.0, 10.0, 10.0], [shift, 0.0, 10.0 + shift, 10.0]]])
    assert _proposals.unrivalled(boxes).tolist() == [[True, shift != 1]]
