"""Boxes, and what is done with any of them: overlaps, offsets, clipping, suppression."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

MOST_GROWTH = math.log(1000 / 16)
"""A box grows at most so many times (as a logarithm): an untrained network must not overflow the exponential."""


@dataclass(frozen=True)
class Detections:
    """What was found in one picture: `boxes` (n, 4), their `scores` and `classes` (int64), the best first."""

    boxes: np.ndarray
    scores: np.ndarray
    classes: np.ndarray

    def __len__(self) -> int:
        return len(self.scores)


def overlaps(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Intersection over union of boxes (n, 4) with boxes (m, 4); 0 where both are empty."""
    shared = intersections(first, second)
    union = areas(first)[:, None] + areas(second) - shared
    shares: np.ndarray = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return shares


def intersections(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The area that boxes (n, 4) share with boxes (m, 4)."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    sides = np.maximum(high - low, 0)
    shared: np.ndarray = sides[..., 0] * sides[..., 1]
    return shared


def areas(boxes: np.ndarray) -> np.ndarray:
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 0)
    found: np.ndarray = sides[:, 0] * sides[:, 1]
    return found


def decoded(offsets: np.ndarray, anchors: np.ndarray, weights: tuple[float, ...]) -> np.ndarray:
    """Boxes (..., 4) from what a network adds to anchors (..., 4): the centre moved by shares of the anchor's sides,
    the sides multiplied by exponentials, each divided by its weight (Girshick et al., 2014)."""
    dx, dy, dw, dh = np.moveaxis(offsets / np.asarray(weights, offsets.dtype), -1, 0)
    sides = anchors[..., 2:] - anchors[..., :2]
    centres = anchors[..., :2] + sides / 2
    centre = centres + np.stack((dx, dy), -1) * sides
    grown = sides * np.exp(np.minimum(np.stack((dw, dh), -1), MOST_GROWTH))
    return np.concatenate((centre - grown / 2, centre + grown / 2), -1)


def clipped(boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The part of the boxes that lies in a picture of `size` (height, width)."""
    height, width = size
    inside: np.ndarray = np.clip(boxes, 0, np.asarray((width, height, width, height), boxes.dtype))
    return inside


def suppressed(boxes: np.ndarray, scores: np.ndarray, classes: np.ndarray, threshold: float) -> np.ndarray:
    """Greedy non-maximum suppression in each class: the numbers of the boxes that stay, the best score first.

    A box goes where it overlaps one that stays by more than `threshold`. Of equal scores the first wins.
    """
    waiting = np.argsort(-scores, kind="stable")
    staying = []
    while len(waiting):
        best, waiting = waiting[0], waiting[1:]
        staying.append(best)
        is_rival = overlaps(boxes[best : best + 1], boxes[waiting])[0] > threshold
        waiting = waiting[~(is_rival & (classes[waiting] == classes[best]))]
    return np.asarray(staying, np.int64)
