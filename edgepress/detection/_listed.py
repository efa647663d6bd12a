"""Detectors that give their boxes themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from edgepress.detection._boxes import Detections
from edgepress.detection._selection import Measure
from edgepress.errors import BadInput


@dataclass(frozen=True, kw_only=True)
class Listed:
    """Reads boxes (N x n x 4, in pixels), scores (N x n) and classes (N x n, below 0 where there is no box)."""

    measure: Measure = "coco"
    kind: Literal["listed"] = "listed"
    is_ranked: ClassVar[bool] = True

    def decode(self, outputs: Sequence[np.ndarray]) -> list[Detections]:
        """One Detections a picture. Raises BadInput for outputs that are not these three."""
        shapes = [output.shape for output in outputs]
        fits = len(shapes) == 3 and shapes[0] == (*shapes[1], 4) and shapes[1] == shapes[2]
        if not fits or len(shapes[1]) != 2:
            raise BadInput(
                f"The labels are boxes, but the network gives {', '.join(map(str, shapes))}.",
                hint="let the network give boxes (N x n x 4), scores (N x n) and classes (N x n), or take a detector of "
                "the zoo",
            )
        return [self._picture(*each) for each in zip(*outputs, strict=True)]

    def _picture(self, boxes: np.ndarray, scores: np.ndarray, classes: np.ndarray) -> Detections:
        order = np.argsort(-scores, kind="stable")
        order = order[classes[order] >= 0]
        return Detections(boxes[order], scores[order], classes[order].astype(np.int64))
