"""How often a network is right, for whatever executes it: a captured Program or a Runner on a board."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from edgepress.data import Batch, Data
from edgepress.errors import BadInput
from edgepress.preprocess import Preprocess
from edgepress.progress import Progress, silent, track


@dataclass(frozen=True)
class Accuracy:
    """In percent of `samples`. `top5` counts the label among the five highest scores."""

    top1: float
    top5: float
    samples: int


def can_evaluate(data: Data, preprocess: Preprocess | None) -> bool:
    """Whether the data has samples to evaluate on, and labels for them."""
    first = next(iter(data.batches("evaluate", preprocess, batch_size=1, limit=1)), None)
    return first is not None and first.labels is not None


def evaluate(
    run: Callable[..., tuple[np.ndarray, ...]],
    data: Data,
    preprocess: Preprocess | None,
    *,
    limit: int | None = None,
    batch_size: int = 64,
    progress: Progress = silent,
) -> Accuracy:
    """The accuracy of the first output of `run` (N x classes) on the first `limit` samples of `evaluate`.

    Of equal scores the first wins. Raises BadInput for data without labels, without samples, or with a
    label that the network has no score for.
    """
    batches = data.batches("evaluate", preprocess, limit=limit, batch_size=batch_size)
    total = -(-min(data.count("evaluate"), limit or data.count("evaluate")) // batch_size)
    return accuracy_on(run, track(batches, "evaluating", progress, total), data.name)


def accuracy_on(
    run: Callable[..., tuple[np.ndarray, ...]], batches: Iterable[Batch], data_name: str
) -> Accuracy:
    """As `evaluate`, on batches that were read already, of whatever split; `data_name` is for the messages."""
    ranks = [_ranks(run(*batch.inputs)[0], batch.labels, data_name) for batch in batches]
    if not ranks:
        raise BadInput("There is nothing to evaluate on.", where=f"data {data_name}")
    rank = np.concatenate(ranks)
    return Accuracy(100 * float(np.mean(rank < 1)), 100 * float(np.mean(rank < 5)), len(rank))


def _ranks(scores: np.ndarray, labels: np.ndarray | None, name: str) -> np.ndarray:
    """How many classes come before the label of each sample; NaN comes before everything, as in argmax."""
    if labels is None:
        raise BadInput(
            "Accuracy needs labels, and the data has none.", where=f"data {name}", hint="use class folders"
        )
    if scores.shape[2:] == (1,) * (scores.ndim - 2):
        scores = scores.reshape(len(scores), -1)
    if scores.ndim != 2 or not scores.size:
        raise BadInput(f"Accuracy needs scores of samples x classes, but the output is {scores.shape}.")
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
