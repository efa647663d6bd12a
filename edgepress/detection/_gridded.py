"""YOLO's detectors: every cell of a grid has boxes of its own (Redmon, Farhadi, 2016 and 2018)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from edgepress.detection._boxes import MOST_GROWTH, Detections
from edgepress.detection._selection import Measure, Selection, sigmoid, softmax


@dataclass(frozen=True, kw_only=True)
class Gridded:
    """Reads maps N x (anchors * (5 + classes)) x rows x columns of pictures of `size` (height, width).

    `shapes` are the anchors (width, height) in pixels of each map, in the order of the outputs; classes exclude one
    another with `softmax` (YOLOv2), and do not with `sigmoid` (YOLOv3).
    """

    size: tuple[int, int]
    shapes: tuple[tuple[tuple[float, float], ...], ...]
    scoring: Literal["softmax", "sigmoid"] = "sigmoid"
    select: Selection = Selection(score=0.005, overlap=0.45)
    measure: Measure = "coco"
    kind: Literal["gridded"] = "gridded"
    is_ranked: ClassVar[bool] = False

    def decode(self, outputs: Sequence[np.ndarray]) -> list[Detections]:
        """One Detections a picture."""
        read = [self._map(output, shapes) for output, shapes in zip(outputs, self.shapes, strict=True)]
        boxes, scores = (np.concatenate(parts, 1) for parts in zip(*read, strict=True))
        return [self.select.of(*each, self.size) for each in zip(boxes, scores, strict=True)]

    def _map(
        self, output: np.ndarray, shapes: tuple[tuple[float, float], ...]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Boxes (N, rows * columns * anchors, 4) and scores (N, ..., classes) of one map."""
        batch, _, rows, columns = output.shape
        cells = output.reshape(batch, len(shapes), -1, rows, columns).transpose(0, 3, 4, 1, 2)
        x = (sigmoid(cells[..., 0]) + np.arange(columns)[None, None, :, None]) * (self.size[1] / columns)
        y = (sigmoid(cells[..., 1]) + np.arange(rows)[None, :, None, None]) * (self.size[0] / rows)
        half = np.exp(np.minimum(cells[..., 2:4], MOST_GROWTH)) * np.asarray(shapes, np.float32) / 2
        centre = np.stack((x, y), -1)
        boxes = np.concatenate((centre - half, centre + half), -1).reshape(batch, -1, 4)
        shares = softmax(cells[..., 5:]) if self.scoring == "softmax" else sigmoid(cells[..., 5:])
        scores = sigmoid(cells[..., 4:5]) * shares
        return boxes.astype(np.float32), scores.reshape(batch, -1, scores.shape[-1])
