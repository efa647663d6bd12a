"""Images averaged or interpolated to sizes that no operation of TFLite does: a stored matrix for each axis."""

from __future__ import annotations

import numpy as np

from edgepress.convert._tflite.draft import Draft, Value, options
from edgepress.convert._tflite.layout import raw_reshape
from edgepress.convert._tflite.model import Op, Tensor


def averages(length: int, count: int) -> np.ndarray:
    """(count x length): each row the mean over a cell; cells overlap where `count` does not divide `length`."""
    starts = np.arange(count) * length // count
    ends = -(-(np.arange(count) + 1) * length // count)
    places = np.arange(length)
    inside = (places >= starts[:, None]) & (places < ends[:, None])
    weights: np.ndarray = (inside / (ends - starts)[:, None]).astype(np.float32)
    return weights


def interpolation(length: int, count: int, factor: float) -> np.ndarray:
    """(count x length): linear between the two nearest centres of pixels, stepping by 1 / factor."""
    places = np.maximum((np.arange(count) + 0.5) / factor - 0.5, 0)
    below = np.minimum(places.astype(np.int64), length - 1)
    above = np.minimum(below + 1, length - 1)
    part = places - below
    weights = np.zeros((count, length), np.float32)
    np.add.at(weights, (np.arange(count), below), 1 - part)
    np.add.at(weights, (np.arange(count), above), part)
    return weights


def resampled(draft: Draft, value: Value, rows: np.ndarray, columns: np.ndarray) -> Value:
    """The NHWC image with every column of it multiplied by `rows` and every row by `columns`."""
    batch, height, width, channels = value.tensor.shape
    tall = raw_reshape(draft, value.tensor, (batch, height, width * channels))
    tall = _multiplied(draft, rows, tall)
    wide = raw_reshape(draft, tall, (batch * len(rows), width, channels))
    wide = _multiplied(draft, columns, wide)
    return value.holding(raw_reshape(draft, wide, (batch, len(rows), len(columns), channels)))


def _multiplied(draft: Draft, matrix: np.ndarray, stack: Tensor) -> Tensor:
    count, length = matrix.shape
    if count == length and (matrix == np.eye(count)).all():
        return stack
    shape = (stack.shape[0], count, stack.shape[2])
    stored = draft.constant(np.broadcast_to(matrix, (stack.shape[0], count, length)))
    return draft.compute(Op.BATCH_MATMUL, [stored, stack], shape, options("BatchMatMulOptions"))
