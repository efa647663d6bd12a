"""How right a network is, for whatever executes it: a captured Program or a Runner on a board.

What is measured follows the labels: a class each gives accuracy, one for every pixel mean overlap, boxes mean average
precision, for which the network says how its outputs are read.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import ClassVar, Protocol, Union

import numpy as np

from edgepress.data import Batch, Data
from edgepress.detection import Listed, Reading
from edgepress.errors import BadInput
from edgepress.preprocess import Preprocess
from edgepress.progress import Progress, silent, track
from edgepress.scoring import MeanOverlap, MeanPrecision, OverlapTally, PrecisionTally

BATCH = 64
"""Samples that the network is run on at a time."""


@dataclass(frozen=True)
class Accuracy:
    """In percent of `samples`. `top5` counts the label among the five highest scores."""

    top1: float
    top5: float
    samples: int
    name: ClassVar[str] = "top-1"

    @property
    def percent(self) -> float:
        return self.top1


Score = Union[Accuracy, MeanOverlap, MeanPrecision]  # noqa: UP007  a device's Python may be 3.9
"""How right a network is; each has a `name`, the figure of that name in `percent`, and the number of `samples`."""


class _Tally(Protocol):
    def add(self, outputs: tuple[np.ndarray, ...], labels: np.ndarray) -> None: ...

    def result(self) -> Score: ...


def can_evaluate(data: Data, preprocess: Preprocess | None) -> bool:
    """Whether the data has samples to evaluate on, and labels for them."""
    first = next(iter(data.batches("evaluate", preprocess, batch_size=1, limit=1)), None)
    return first is not None and first.labels is not None


def evaluate(
    run: Callable[..., tuple[np.ndarray, ...]],
    data: Data,
    preprocess: Preprocess | None,
    *,
    reading: Reading | None = None,
    limit: int | None = None,
    progress: Progress = silent,
) -> Score:
    """How right `run` is on the first `limit` samples of `evaluate`: by its first output, or what `reading` finds.

    Of equal scores the first wins. Raises BadInput for data without labels, without samples, or with a
    label that the network has no score for, and for labels of another kind than the network's outputs.
    """
    batches = data.batches("evaluate", preprocess, limit=limit, batch_size=BATCH)
    total = -(-min(data.count("evaluate"), limit or data.count("evaluate")) // BATCH)
    return score_on(run, track(batches, "evaluating", progress, total), data.name, reading)


def score_on(
    run: Callable[..., tuple[np.ndarray, ...]],
    batches: Iterable[Batch],
    data_name: str,
    reading: Reading | None = None,
) -> Score:
    """As `evaluate`, on batches that were read already, of whatever split; `data_name` is for the messages."""
    iterator = iter(batches)
    first = next(iterator, None)
    if first is None:
        raise BadInput(
            "The data has no samples to evaluate on.",
            where=f"data {data_name}",
            hint="data with samples to evaluate with; --train-share divides it",
        )
    tally = _tally(first.labels, reading, data_name)
    for batch in itertools.chain([first], iterator):
        if batch.labels is None:
            raise BadInput(
                "Accuracy needs labels, and the data has none.",
                where=f"data {data_name}",
                hint="use class folders",
            )
        tally.add(run(*batch.inputs), batch.labels)
    return tally.result()


def _tally(labels: np.ndarray | None, reading: Reading | None, data_name: str) -> _Tally:
    has_boxes = labels is not None and labels.dtype == np.float32
    if reading is not None and labels is not None and not has_boxes:
        raise BadInput(
            "The network detects, but the labels of the data are not bounding boxes.",
            where=f"data {data_name}",
            hint="give each sample a list of [class, x0, y0, x1, y1], in pixels of the input",
        )
    if has_boxes:
        return PrecisionTally(reading or Listed(), data_name)
    return OverlapTally(data_name) if labels is not None and labels.ndim == 3 else _RankTally(data_name)


class _RankTally:
    """Gathers how many classes come before each sample's label."""

    def __init__(self, data_name: str) -> None:
        self.data_name = data_name
        self.ranks: list[np.ndarray] = []

    def add(self, outputs: tuple[np.ndarray, ...], labels: np.ndarray) -> None:
        self.ranks.append(_ranks(outputs[0], labels, self.data_name))

    def result(self) -> Accuracy:
        rank = np.concatenate(self.ranks)
        return Accuracy(100 * float(np.mean(rank < 1)), 100 * float(np.mean(rank < 5)), len(rank))


def _ranks(scores: np.ndarray, labels: np.ndarray, name: str) -> np.ndarray:
    """How many classes come before the label of each sample; NaN comes before everything, as in argmax."""
    if scores.shape[2:] == (1,) * (scores.ndim - 2):
        scores = scores.reshape(len(scores), -1)
    if scores.ndim != 2 or not scores.size:
        raise BadInput(
            f"Accuracy needs scores of shape samples x classes, but the output is {scores.shape}.",
            hint="let the network's first output be the scores of the classes",
        )
    classes = scores.shape[1]
    if labels.min() < 0 or labels.max() >= classes:
        wrong = int(labels.max() if labels.max() >= classes else labels.min())
        raise BadInput(
            f"The label {wrong} has no score: the network scores {classes} classes.",
            where=f"data {name}",
            hint="use the data the network was trained for",
        )
    of_label = scores[np.arange(len(labels)), labels][:, None]
    earlier = np.arange(classes) < labels[:, None]
    better = ~np.where(earlier, scores < of_label, scores <= of_label)
    better[np.arange(len(labels)), labels] = np.isnan(of_label[:, 0])
    ranks: np.ndarray = better.sum(axis=1)
    return ranks
