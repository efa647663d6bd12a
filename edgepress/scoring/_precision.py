"""Mean average precision of boxes: COCO's (Lin et al., 2014) and that of PASCAL VOC (Everingham et al., 2010)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgepress.detection import Detections, Measure, Reading, areas, intersections, overlaps
from edgepress.errors import BadInput

COCO_OVERLAPS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
VOC_OVERLAPS = (0.5,)
MOST = 100
"""Of each class COCO looks at so many boxes of a picture, the best."""


@dataclass(frozen=True)
class MeanPrecision:
    """In percent, the mean over the classes that the labels have: `map` over all overlaps that the measure asks for,
    `map50` at an overlap of one half."""

    map: float
    map50: float
    samples: int
    name: ClassVar[str] = "mAP"

    @property
    def percent(self) -> float:
        return self.map


@dataclass(frozen=True)
class _Class:
    """Of one class in one picture: boxes found with their scores, true boxes, and which of those do not count."""

    boxes: np.ndarray
    scores: np.ndarray
    truth: np.ndarray
    ignored: np.ndarray


class PrecisionTally:
    """Collects what `reading` finds in the outputs, and the true boxes (see `edgepress.data.Batch`)."""

    def __init__(self, reading: Reading, data_name: str) -> None:
        self.reading, self.data_name = reading, data_name
        self.samples = 0
        self.classes: dict[int, list[_Class]] = defaultdict(list)

    def add(self, outputs: tuple[np.ndarray, ...], labels: np.ndarray) -> None:
        for found, truth in zip(self.reading.decode(outputs), labels, strict=True):
            self.samples += 1
            for number, one in _by_class(found, truth[truth[:, 0] >= 0]):
                self.classes[number].append(one)

    def result(self) -> MeanPrecision:
        measure = self.reading.measure
        wanted = COCO_OVERLAPS if measure == "coco" else VOC_OVERLAPS
        each = [
            [average_precision(*_outcomes(pictures, overlap, measure), measure) for overlap in wanted]
            for pictures in self.classes.values()
            if any((~one.ignored).any() for one in pictures)
        ]
        if not each:
            raise BadInput("The labels have no boxes.", where=f"data {self.data_name}", hint="check the data")
        table = 100 * np.asarray(each)
        return MeanPrecision(float(table.mean()), float(table[:, 0].mean()), self.samples)


def average_precision(scores: np.ndarray, right: np.ndarray, truths: int, measure: Measure) -> float:
    """The area under precision over recall of boxes with `scores`, each right (1), wrong (0) or not counted (-1).

    Precision counts as the best at this recall or a higher one. COCO takes it at 101 recalls, VOC at the end of every
    step (`voc`, since 2010) or at 11 recalls (`voc11`).
    """
    order = np.argsort(-scores, kind="stable")
    right = right[order]
    right = right[right >= 0]
    hits = np.cumsum(right)
    recall = hits / truths
    precision = hits / np.arange(1, len(right) + 1)
    best = np.maximum.accumulate(precision[::-1])[::-1]
    if measure == "voc":
        return float(np.sum(np.diff(recall, prepend=0.0) * best))
    wanted = np.linspace(0, 1, 101 if measure == "coco" else 11)
    places = np.searchsorted(recall, wanted, side="left")
    return float(np.append(best, 0.0)[places].mean())


def _by_class(found: Detections, truth: np.ndarray) -> Iterator[tuple[int, _Class]]:
    of_truth = truth[:, 0].astype(np.int64)
    for number in np.union1d(found.classes, of_truth):
        mine, own = found.classes == number, truth[of_truth == number]
        yield (
            int(number),
            _Class(found.boxes[mine], found.scores[mine], own[:, 1:5].astype(np.float64), own[:, 5] > 0),
        )


def _outcomes(pictures: list[_Class], overlap: float, measure: Measure) -> tuple[np.ndarray, np.ndarray, int]:
    """Scores of all boxes of one class, whether each is right, and how many there are to be found."""
    judged = [(_coco if measure == "coco" else _voc)(one, overlap) for one in pictures]
    scores = np.concatenate([one.scores[:MOST] if measure == "coco" else one.scores for one in pictures])
    return scores, np.concatenate(judged), sum(int((~one.ignored).sum()) for one in pictures)


def _coco(one: _Class, overlap: float) -> np.ndarray:
    """Each box takes the true one that it overlaps most of those still free; a crowd is never taken, and what lies in
    one does not count."""
    boxes = one.boxes[:MOST].astype(np.float64)
    shares = overlaps(boxes, one.truth)
    within = intersections(boxes, one.truth) / np.maximum(areas(boxes), 1e-12)[:, None]
    free = ~one.ignored
    right = np.zeros(len(boxes), np.int64)
    for place in range(len(boxes)):
        candidates = np.where(free, shares[place], -1.0)
        if candidates.max(initial=-1.0) >= overlap:
            # Of equally good ones the last, as the authors' code does.
            free[len(candidates) - 1 - int(candidates[::-1].argmax())] = False
            right[place] = 1
        elif (within[place][one.ignored] >= overlap).any():
            right[place] = -1
    return right


def _voc(one: _Class, overlap: float) -> np.ndarray:
    """Each box is judged by the true one that it overlaps most: wrong where that is taken, not counted where it is
    difficult."""
    shares = overlaps(one.boxes.astype(np.float64), one.truth)
    free = np.ones(len(one.truth), bool)
    right = np.zeros(len(one.boxes), np.int64)
    for place in range(len(one.boxes) if len(one.truth) else 0):
        nearest = int(shares[place].argmax())
        if shares[place, nearest] < overlap:
            continue
        if one.ignored[nearest]:
            right[place] = -1
        elif free[nearest]:
            free[nearest], right[place] = False, 1
    return right
