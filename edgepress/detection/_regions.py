"""Two-stage detectors: regions proposed by the network itself, then classified and moved (Ren et al., 2015)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from edgepress.detection._boxes import Detections, decoded
from edgepress.detection._selection import Measure, Selection, softmax


@dataclass(frozen=True, kw_only=True)
class Regions:
    """Reads logits (N x regions x classes, class 0 the background), offsets (N x regions x 4, or 4 for every class) and
    the regions (N x regions x 4) of pictures of `size` (height, width). What follows them, as masks, is left alone."""

    size: tuple[int, int]
    weights: tuple[float, float, float, float] = (10.0, 10.0, 5.0, 5.0)
    select: Selection = Selection()
    measure: Measure = "coco"
    kind: Literal["regions"] = "regions"
    is_ranked: ClassVar[bool] = True

    def decode(self, outputs: Sequence[np.ndarray]) -> list[Detections]:
        """One Detections a picture."""
        logits, offsets, regions = outputs[:3]
        scores = softmax(logits)[..., 1:]
        if offsets.shape[-1] == 4:
            boxes = decoded(offsets, regions, self.weights)
        else:
            own = offsets.reshape(*offsets.shape[:2], -1, 4)[:, :, 1:]
            boxes = decoded(own, regions[:, :, None], self.weights)
        return [self.select.of(*each, self.size) for each in zip(boxes, scores, strict=True)]
