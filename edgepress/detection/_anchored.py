"""Single-stage detectors with anchors: SSD, DSSD, RetinaNet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np

from edgepress.bounds import Gt, Le, MaxLen
from edgepress.detection._boxes import Detections, decoded
from edgepress.detection._selection import Measure, Selection, sigmoid, softmax

Count = Annotated[int, Gt(0), Le(4096)]
"""Places a side: a manifest that asks for more is not of a picture."""


@dataclass(frozen=True)
class Level:
    """The anchors of one map of features: at each of `rows` x `columns` places, `step` pixels apart (down, across),
    one of each of the `shapes` (width, height), its centre `offset` steps behind the place's corner."""

    rows: Count
    columns: Count
    step: tuple[float, float]
    shapes: Annotated[tuple[tuple[float, float], ...], MaxLen(64)]
    offset: float = 0.5

    def boxes(self) -> np.ndarray:
        """float32 (rows * columns * shapes, 4), row by row."""
        y = (np.arange(self.rows) + self.offset) * self.step[0]
        x = (np.arange(self.columns) + self.offset) * self.step[1]
        centres = np.stack(np.broadcast_arrays(x[None, :, None], y[:, None, None]), -1)
        half = np.asarray(self.shapes) / 2
        boxes = np.concatenate((centres - half, centres + half), -1)
        return boxes.reshape(-1, 4).astype(np.float32)


def anchors(levels: Sequence[Level]) -> np.ndarray:
    """float32 (n, 4), one level after the other."""
    return np.concatenate([level.boxes() for level in levels])


@dataclass(frozen=True, kw_only=True)
class Anchored:
    """Reads logits (N x anchors x classes) and offsets (N x anchors x 4) of pictures of `size` (height, width).

    Class 0 is the background, which with `sigmoid`, where no class excludes another, nothing is trained to be.
    """

    size: tuple[int, int]
    levels: tuple[Level, ...]
    weights: tuple[float, float, float, float] = (10.0, 10.0, 5.0, 5.0)
    scoring: Literal["softmax", "sigmoid"] = "softmax"
    select: Selection = Selection()
    measure: Measure = "coco"
    kind: Literal["anchored"] = "anchored"
    is_ranked: ClassVar[bool] = False

    def decode(self, outputs: Sequence[np.ndarray]) -> list[Detections]:
        """One Detections a picture."""
        logits, offsets = outputs
        shares = softmax(logits) if self.scoring == "softmax" else sigmoid(logits)
        scores = shares[..., 1:]
        boxes = decoded(offsets, anchors(self.levels), self.weights)
        return [self.select.of(*each, self.size) for each in zip(boxes, scores, strict=True)]
