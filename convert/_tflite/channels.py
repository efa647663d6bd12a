"""Where the channels of a tensor were made, seen through slices, joins and shuffles."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from edgepress.convert._tflite.model import Model, Op, Operation, Tensor

MOST_CHANNELS = 1 << 32
"""A label is a maker's number times this, plus the channel's number there."""

SHUFFLING = {Op.TRANSPOSE, Op.GATHER}


@dataclass(frozen=True)
class Run:
    """`count` neighbouring channels of `maker`, from `start` on."""

    maker: Tensor
    start: int
    count: int


class Channels:
    """A label for every channel (entry of the last axis) of every tensor of a model.

    Each operation that does more than move channels gives new labels: it is their maker. Slices and joins along the
    last axis, and reshapes and transposes that leave the positions of the image in place, hand them on.
    """

    def __init__(self, model: Model) -> None:
        self._makers: list[Tensor] = []
        self._labels: dict[Tensor, np.ndarray] = {}
        self._movers: set[Operation] = set()
        self._shuffled: set[Tensor] = set()
        for _, tensor in model.inputs:
            self._make(tensor)
        for operation in model.operations:
            self._pass(operation)

    def is_mover(self, operation: Operation) -> bool:
        """Whether the operation only hands labels on."""
        return operation in self._movers

    def is_shuffled(self, tensor: Tensor) -> bool:
        """Whether a transpose or a gather lies between the tensor's channels and their makers."""
        return tensor in self._shuffled and self._labels[tensor].ndim == 1

    def labels(self, tensor: Tensor) -> np.ndarray:
        return self._labels[tensor]

    def runs(self, labels: np.ndarray) -> list[Run]:
        """The labels as the fewest runs of neighbouring channels."""
        starts = np.flatnonzero(np.diff(labels, prepend=-2) != 1)
        counts = np.diff(np.append(starts, len(labels)))
        return [
            Run(self._makers[label // MOST_CHANNELS], label % MOST_CHANNELS, count)
            for label, count in zip(labels[starts].tolist(), counts.tolist(), strict=True)
        ]

    def maker(self, labels: np.ndarray) -> Tensor | None:
        """The one tensor whose channels these are, each once."""
        first = labels[0] // MOST_CHANNELS
        maker = self._makers[first]
        whole = np.arange(maker.shape[-1]) + first * MOST_CHANNELS
        return maker if np.array_equal(np.sort(labels), whole) else None

    def numbers(self, labels: np.ndarray) -> np.ndarray:
        """The number of each channel in the tensor where it was made."""
        found: np.ndarray = labels % MOST_CHANNELS
        return found

    def _make(self, tensor: Tensor) -> None:
        if tensor.shape:
            first = len(self._makers) * MOST_CHANNELS
            self._labels[tensor] = np.arange(first, first + tensor.shape[-1])
        self._makers.append(tensor)

    def _pass(self, operation: Operation) -> None:
        moved = self._moved(operation)
        if moved is None:
            for tensor in operation.outputs:
                self._make(tensor)
            return
        (output,) = operation.outputs
        self._labels[output] = moved
        self._movers.add(operation)
        if operation.code in SHUFFLING or any(tensor in self._shuffled for tensor in operation.inputs):
            self._shuffled.add(output)

    def _moved(self, operation: Operation) -> np.ndarray | None:
        """The labels of the result, of any number of axes; None where the operation makes it."""
        source, output = operation.inputs[0], operation.outputs[0]
        labels = [self._labels.get(tensor) for tensor in operation.inputs]
        first = labels[0]
        if first is None or not output.shape:
            return None
        if operation.code == Op.RESHAPE:
            return _reshaped(first, source.shape, output.shape)
        if operation.code == Op.TRANSPOSE:
            return _transposed(first, operation.inputs[1].data)
        last = len(output.shape) - 1
        if first.ndim != 1:
            return None
        if operation.code == Op.SLICE and output.shape[:-1] == source.shape[:-1]:
            begin = operation.inputs[1].data
            assert begin is not None
            return first[begin[-1] : begin[-1] + output.shape[-1]]
        if operation.code == Op.CONCATENATION and operation.options.axis % (last + 1) == last:
            known = [array for array in labels if array is not None and array.ndim == 1]
            return np.concatenate(known) if len(known) == len(labels) else None
        if operation.code == Op.GATHER and operation.options.axis == last:
            index = operation.inputs[1].data
            return first[index] if index is not None and index.ndim == 1 else None
        return None


def _reshaped(labels: np.ndarray, before: tuple[int, ...], after: tuple[int, ...]) -> np.ndarray | None:
    """The labels where some first axes of `after` hold the positions that those of `before` held."""
    positions = math.prod(before[: len(before) - labels.ndim])
    kept = [axes for axes in range(len(after)) if math.prod(after[:axes]) == positions]
    return labels.reshape(after[kept[-1] :]) if kept else None


def _transposed(labels: np.ndarray, permutation: np.ndarray | None) -> np.ndarray | None:
    if permutation is None:
        return None
    kept = len(permutation) - labels.ndim
    if list(permutation[:kept]) != list(range(kept)):
        return None
    moved: np.ndarray = labels.transpose(permutation[kept:] - kept)
    return moved
