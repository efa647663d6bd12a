"""Regions proposed and cut out by plain tensor operations, a fixed number of them, so that two-stage detectors export.

What is dynamic in the papers has a fixed form here. Suppression is that of Bolya et al. (2019, YOLACT): a region goes
where it overlaps any better one, whether that stays or not, which takes one matrix in place of a loop; those that went
come last, so that there are always as many.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence

import torch
from torch import nn

from edgepress.detection import MOST_GROWTH, Level

OVERLAP = 0.7
"""Regions that overlap a better one by more go (Ren et al., 2015)."""
SAMPLES = 2
"""Points a side of each cell of a region (He et al., 2017)."""
USUAL_SIDE, USUAL_LEVEL = 224.0, 4.0
"""A region as large as pictures of ImageNet is read from the map of 1/16 the size (Lin et al., 2017)."""
TINY = 1e-6
"""Keeps a region without area from the logarithm, and one of just the usual side on its level."""
BEHIND = -1e6
"""Where the regions that went are ranked, in their order: below all logits, which no rounding makes equal then, as it
would chances."""
UNWEIGHTED, WEIGHTED = (1.0, 1.0, 1.0, 1.0), (10.0, 10.0, 5.0, 5.0)
"""What offsets of proposals, and of the boxes made of them, are divided by."""


def decode(
    offsets: torch.Tensor, boxes: torch.Tensor, weights: tuple[float, float, float, float], size: int
) -> torch.Tensor:
    """Boxes (..., 4) moved by offsets (..., 4), inside of a picture of `size` pixels a side."""
    low, high = boxes[..., :2], boxes[..., 2:]
    sides = high - low
    moves = offsets[..., :2] * offsets.new_tensor([1 / weights[0], 1 / weights[1]])
    growths = offsets[..., 2:] * offsets.new_tensor([1 / weights[2], 1 / weights[3]])
    centre = low + sides * 0.5 + moves * sides
    half = sides * 0.5 * torch.exp(growths.clamp(max=MOST_GROWTH))
    return torch.cat((centre - half, centre + half), dim=-1).clamp(0.0, float(size))


def chosen(values: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Rows `places` (N x k) of N x n x values."""
    return torch.gather(values, 1, places.unsqueeze(2).expand(-1, -1, values.shape[2]))


def sorted_places(scores: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The `count` best scores (N x n) and their places; of equal ones, which int8 makes many, the first comes first."""
    ordered, places = torch.sort(scores, dim=1, descending=True, stable=True)
    return ordered[:, :count], places[:, :count]


def unrivalled(boxes: torch.Tensor) -> torch.Tensor:
    """Whether no better one overlaps each box of N x n x 4, the best first, too far: N x n."""
    low = torch.maximum(boxes[:, :, None, :2], boxes[:, None, :, :2])
    high = torch.minimum(boxes[:, :, None, 2:], boxes[:, None, :, 2:])
    sides = (high - low).clamp(min=0.0)
    shared = sides[..., 0] * sides[..., 1]
    own = (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])
    union = own.unsqueeze(2) + own.unsqueeze(1) - shared
    # Without a division, which a box without area would break.
    is_rival = (shared > OVERLAP * union).to(boxes.dtype)
    better = torch.ones(boxes.shape[1], boxes.shape[1], device=boxes.device).triu(1)
    return (is_rival * better).amax(dim=1) == 0.0


class Proposals(nn.Module):
    """Logits (N x anchors) and offsets (N x anchors x 4) of several maps to the `count` best regions, N x count x 4."""

    def __init__(self, levels: Sequence[Level], size: int, count: int) -> None:
        super().__init__()
        self.size, self.count = size, count
        self.names = [f"anchors{number}" for number in range(len(levels))]
        for name, level in zip(self.names, levels, strict=True):
            self.register_buffer(name, torch.tensor(level.boxes()), persistent=False)

    def forward(self, logits: Sequence[torch.Tensor], offsets: Sequence[torch.Tensor]) -> torch.Tensor:
        found, ranks = [], []
        for name, level_logits, level_offsets in zip(self.names, logits, offsets, strict=True):
            anchors = self.get_buffer(name)
            scores, places = sorted_places(level_logits, min(self.count, len(anchors)))
            chosen_anchors = chosen(anchors.expand(places.shape[0], -1, -1), places)
            boxes = decode(chosen(level_offsets, places), chosen_anchors, UNWEIGHTED, self.size)
            found.append(boxes)
            ranks.append(
                torch.where(unrivalled(boxes), scores, BEHIND - torch.arange(float(scores.shape[1])))
            )
        _, places = sorted_places(torch.cat(ranks, dim=1), self.count)
        return chosen(torch.cat(found, dim=1), places)


class Cells(nn.Module):
    """Cuts regions (N x k x 4, in pixels) out of maps (N x channels x side x side): N x k x channels x cells x cells.

    RoIAlign (He et al., 2017): each cell is the mean of four points, each of them interpolated between the four places
    around it. Larger regions are read from coarser maps (Lin et al., 2017, FPN, equation 1).
    """

    def __init__(self, cells: int, sides: Sequence[int], size: int) -> None:
        super().__init__()
        self.points = cells * SAMPLES
        starts = [sum(side * side for side in sides[:number]) for number in range(len(sides))]
        steps = [2.0 ** -round(math.log2(size / side)) for side in sides]
        self.first = round(-math.log2(steps[0]))
        self.register_buffer("table", torch.tensor([sides, starts, steps]), persistent=False)

    def forward(self, maps: Sequence[torch.Tensor], regions: torch.Tensor) -> torch.Tensor:
        side, start, step = self._levels(regions)
        places = torch.cat([level.flatten(2) for level in maps], dim=2)
        sampled = [
            taken(places, index.flatten(1)) * share.flatten(1).unsqueeze(1)
            for index, share in corners(regions, self.points, step, side, start)
        ]
        points = functools.reduce(torch.add, sampled)
        means = nn.functional.avg_pool2d(points.unflatten(2, (-1, self.points)), SAMPLES)
        cells: torch.Tensor = means.unflatten(2, (-1, self.points // SAMPLES)).transpose(1, 2)
        return cells

    def _levels(self, regions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Side, first place and scale of the map that each region is read from, each N x k."""
        table = self.get_buffer("table")
        sides = regions[..., 2:] - regions[..., :2]
        extent = (sides[..., 0] * sides[..., 1]).clamp(min=TINY).sqrt()
        wanted = torch.floor(USUAL_LEVEL + torch.log2(extent / USUAL_SIDE) + TINY) - self.first
        level = wanted.clamp(0.0, table.shape[1] - 1.0).unsqueeze(2)
        is_level = (level == torch.arange(float(table.shape[1]))).to(regions.dtype)
        side, start, step = ((is_level * table[row]).sum(2) for row in range(3))
        return side, start, step


class Parts(nn.Module):
    """What the maps of each of `parts` x `parts` parts (N x parts**2 values x side x side, the parts first) say of that
    part of each region, averaged over the parts: N x k x values (Dai et al., 2016, equation 1)."""

    def __init__(self, parts: int, side: int, size: int) -> None:
        super().__init__()
        self.parts, self.side = parts, float(side)
        self.step = side / size

    def forward(self, maps: torch.Tensor, regions: torch.Tensor) -> torch.Tensor:
        count = self.parts**2
        values, number = maps.shape[1] // count, regions.shape[1]
        places = maps.flatten(2).unflatten(1, (count, values)).flatten(0, 1)
        like = torch.zeros_like(regions[..., 0])
        around = corners(regions, self.parts * SAMPLES, like + self.step, like + self.side, like)
        sampled = [
            taken(places, self._by_part(index)) * self._by_part(share).unsqueeze(1) for index, share in around
        ]
        points = functools.reduce(torch.add, sampled).unflatten(2, (number, SAMPLES**2))
        means: torch.Tensor = points.mean(3).unflatten(0, (-1, count)).mean(1).transpose(1, 2)
        return means

    def _by_part(self, points: torch.Tensor) -> torch.Tensor:
        """N x k x points x points to (N * parts**2) x (k * points of one part)."""
        cells = points.unflatten(3, (self.parts, SAMPLES)).unflatten(2, (self.parts, SAMPLES))
        by_part: torch.Tensor = cells.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2).flatten(0, 1)
        return by_part


def corners(
    regions: torch.Tensor, points: int, step: torch.Tensor, side: torch.Tensor, start: torch.Tensor
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """The four places around each of `points` x `points` points of regions N x k x 4, as numbers of a map `side` wide
    that begins at place `start`, and how much each counts: both N x k x points x points. `step` are places a pixel."""
    x, y = (_along(regions[..., axis], regions[..., axis + 2], points, step, side) for axis in (0, 1))
    first, wide = start[:, :, None, None], side[:, :, None, None]
    for row, row_share in y:
        for column, column_share in x:
            index = first + row.unsqueeze(3) * wide + column.unsqueeze(2)
            yield index, row_share.unsqueeze(3) * column_share.unsqueeze(2)


def _along(
    low: torch.Tensor, high: torch.Tensor, points: int, step: torch.Tensor, side: torch.Tensor
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Along one axis, N x k x points: the place before each point with its share, and the place behind it."""
    extent = ((high - low) * step).clamp(min=1.0)
    last = (side - 1.0).unsqueeze(2)
    inside = (torch.arange(float(points)) + 0.5) / points
    position = (low * step).unsqueeze(2) + extent.unsqueeze(2) * inside
    position = torch.minimum(position.clamp(min=0.0), last)
    before = torch.floor(position)
    share = position - before
    return [(before, 1.0 - share), (torch.minimum(before + 1.0, last), share)]


def taken(places: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """Places `index` (N x n, whole numbers as floats) of N x channels x places: N x channels x n."""
    return torch.gather(places, 2, index.long().unsqueeze(1).expand(-1, places.shape[1], -1))
