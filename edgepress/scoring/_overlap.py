"""Mean intersection over union of segmented areas, over all pixels of all pictures (Everingham et al., 2010)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgepress.data import NO_CLASS
from edgepress.errors import BadInput


@dataclass(frozen=True)
class MeanOverlap:
    """In percent: the mean over the classes that the labels or the network name anywhere, and the share of `pixels`
    whose class is right; pixels of no class do not count."""

    miou: float
    pixels: float
    samples: int
    name: ClassVar[str] = "mIoU"

    @property
    def percent(self) -> float:
        return self.miou


class OverlapTally:
    """Counts pixels by their class in the labels and in the network's first output, N x classes x height x width."""

    def __init__(self, data_name: str) -> None:
        self.data_name = data_name
        self.samples = 0
        self.counts = np.zeros((0, 0), np.int64)

    def add(self, outputs: tuple[np.ndarray, ...], labels: np.ndarray) -> None:
        scores = outputs[0]
        if scores.ndim != 4 or scores.shape[2:] != labels.shape[1:]:
            raise BadInput(
                f"Labels of {labels.shape[1]} x {labels.shape[2]} pixels need scores of samples x classes x height x width "
                f"of this size, but the output is {' x '.join(map(str, scores.shape))}.",
                where=f"data {self.data_name}",
                hint="give labels as large as the network's output",
            )
        classes = scores.shape[1]
        counted = labels != NO_CLASS
        truth = labels[counted]
        if truth.size and (truth.min() < 0 or truth.max() >= classes):
            wrong = int(truth.max() if truth.max() >= classes else truth.min())
            raise BadInput(
                f"The label {wrong} has no score: the network scores {classes} classes.",
                where=f"data {self.data_name}",
                hint=f"use the data the network was trained for; {NO_CLASS} stands for no class",
            )
        given = scores.argmax(1)[counted]
        if not self.samples:
            self.counts = np.zeros((classes, classes), np.int64)
        self.counts += np.bincount(truth * classes + given, minlength=classes**2).reshape(classes, classes)
        self.samples += len(labels)

    def result(self) -> MeanOverlap:
        right = np.diag(self.counts)
        union = self.counts.sum(0) + self.counts.sum(1) - right
        if not union.any():
            raise BadInput(
                "No pixel of the labels has a class.",
                where=f"data {self.data_name}",
                hint="labels below the number of classes; others are not counted",
            )
        miou = 100 * float(np.mean(right[union > 0] / union[union > 0]))
        return MeanOverlap(miou, 100 * float(right.sum() / self.counts.sum()), self.samples)
