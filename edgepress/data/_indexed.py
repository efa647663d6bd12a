"""Data whose samples can be asked for by number: splitting, limiting, shuffling and batching, in one place."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping

import numpy as np

from edgepress.data import NO_CLASS, Batch, Data, DataOptions, Split
from edgepress.data._labels import class_count
from edgepress.preprocess import Preprocess

Splits = Mapping[Split, np.ndarray]
"""The numbers of the samples of each split, in their fixed order."""


def divided(count: int, options: DataOptions) -> Splits:
    """Splits of `count` samples that nobody has divided yet (see DataOptions); each split has at least one."""
    order = np.random.RandomState(options.seed).permutation(count)
    middle = min(max(round(count * options.train_share), 1), count - 1) if count > 1 else 1
    return _with_calibration(order[:middle], order[middle:] if count > 1 else order)


def given(train_count: int, evaluate_count: int, options: DataOptions) -> Splits:
    """Splits of samples numbered training set first. Mixed, because files usually lie sorted by class."""
    random = np.random.RandomState(options.seed)
    return _with_calibration(
        random.permutation(train_count), train_count + random.permutation(evaluate_count)
    )


def _with_calibration(train: np.ndarray, evaluate: np.ndarray) -> Splits:
    return {"train": train, "calibrate": train, "evaluate": evaluate}


class IndexedData(Data):
    """`labels` as in Batch, of all samples, or None; a subclass tells how to read samples."""

    def __init__(
        self, name: str, splits: Splits, labels: np.ndarray | None, class_names: tuple[str, ...] = ()
    ) -> None:
        self.name = name
        self.class_names = class_names
        self._splits = splits
        self._labels = labels

    @abstractmethod
    def read(self, indices: np.ndarray, preprocess: Preprocess | None) -> tuple[np.ndarray, ...]:
        """The network's inputs for the samples of these numbers."""

    def count(self, split: Split) -> int:
        return len(self._splits[split])

    def class_count(self) -> int | None:
        if self.class_names:
            return len(self.class_names)
        return None if self._labels is None else class_count(self._labels, NO_CLASS)

    def batches(
        self,
        split: Split,
        preprocess: Preprocess | None,
        *,
        batch_size: int = 64,
        skip: int = 0,
        limit: int | None = None,
        shuffle_seed: int | None = None,
    ) -> Iterator[Batch]:
        chosen = self._splits[split][skip:][:limit]
        if shuffle_seed is not None:
            chosen = np.random.default_rng(shuffle_seed).permutation(chosen)
        for start in range(0, len(chosen), batch_size):
            indices = chosen[start : start + batch_size]
            labels = None if self._labels is None else self._labels[indices]
            yield Batch(self.read(indices, preprocess), labels)
