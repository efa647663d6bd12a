"""Which of all boxes with scores count as found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np

from edgepress.bounds import Ge, Gt, Le
from edgepress.detection._boxes import Detections, clipped, suppressed

Measure = Literal["coco", "voc", "voc11"]
"""Which mean average precision: COCO's over overlaps of 0.5 to 0.95, or VOC's at 0.5, over all points or eleven."""
Share = Annotated[float, Ge(0), Le(1)]


@dataclass(frozen=True, kw_only=True)
class Selection:
    """At least this `score`; of those the `candidates` best, without what overlaps a better one of its class by more
    than `overlap`, and of what is left the `most` best."""

    score: Share = 0.05
    overlap: Share = 0.5
    candidates: Annotated[int, Gt(0)] = 400
    most: Annotated[int, Gt(0)] = 100

    def of(self, boxes: np.ndarray, scores: np.ndarray, size: tuple[int, int]) -> Detections:
        """`boxes` (n, 4) or (n, classes, 4) and `scores` (n, classes) of one picture of `size` (height, width)."""
        places, classes = np.nonzero(scores >= self.score)
        chosen = scores[places, classes]
        best = np.argsort(-chosen, kind="stable")[: self.candidates]
        places, classes, chosen = places[best], classes[best], chosen[best]
        own = boxes[places] if boxes.ndim == 2 else boxes[places, classes]
        own = clipped(own, size)
        stay = suppressed(own, chosen, classes, self.overlap)[: self.most]
        return Detections(own[stay], chosen[stay], classes[stay])


def softmax(logits: np.ndarray) -> np.ndarray:
    """Shares along the last axis."""
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    shares: np.ndarray = powers / powers.sum(-1, keepdims=True)
    return shares


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Through tanh, which no value overflows."""
    shares: np.ndarray = (np.tanh(logits / 2) + 1) / 2
    return shares
