"""Data that is in memory already: what Python code hands to a stage without a file."""

from __future__ import annotations

import numpy as np

from edgepress.data import SPLITS
from edgepress.data._indexed import IndexedData
from edgepress.preprocess import Preprocess


class ArrayData(IndexedData):
    """`inputs` as the network takes them, one array for each of its inputs, samples first; `labels` as in Batch. Every
    split has all samples, in their order, and no preprocessing is applied."""

    def __init__(
        self,
        *inputs: np.ndarray,
        labels: np.ndarray | None = None,
        class_names: tuple[str, ...] = (),
        name: str = "arrays",
    ) -> None:
        samples = np.arange(len(inputs[0]))
        super().__init__(name, dict.fromkeys(SPLITS, samples), labels, class_names)
        self.inputs = inputs

    def read(self, indices: np.ndarray, preprocess: Preprocess | None) -> tuple[np.ndarray, ...]:
        return tuple(array[indices] for array in self.inputs)
