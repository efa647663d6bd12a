"""Where the file keeps which axis: transposes are only written when an operation insists on another order.

A permute costs nothing (the order is relabelled), a view keeps the order wherever the axes it joins lie
side by side in the file, and the rest becomes a RESHAPE or a TRANSPOSE of the fewest axes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from edgepress.convert._tflite.draft import Draft, Value, options
from edgepress.convert._tflite.model import Op, Tensor

NHWC = (0, 2, 3, 1)
"""The order in which image operations take their 4-D tensors."""

MAX_TRANSPOSED_AXES = 4
"""A TRANSPOSE of more axes is joined to fewer where it can be: older kernels take no more."""

Group = tuple[tuple[int, ...], tuple[int, ...]]
"""Axes of one shape and the axes of another that hold the same elements; axes of size 1 belong to none."""


def plain(rank: int) -> tuple[int, ...]:
    return tuple(range(rank))


def reordered(draft: Draft, value: Value, order: Sequence[int]) -> Value:
    """`value` with its axes in the file in `order`; a TRANSPOSE is shared by all who ask for the same."""
    order = tuple(order)
    if order == value.order:
        return value
    if len(order) != len(value.order):
        raise draft.unsupported(
            f"TFLite does this on tensors of {len(order)} axes, not of {len(value.order)}.",
            "reshape to samples, channels, height, width",
        )
    permutation = tuple(value.order.index(axis) for axis in order)
    tensor = value.tensor
    if tensor.data is not None:
        moved = draft.constant(tensor.data.transpose(permutation), tensor.name, tensor.quantization)
    else:
        moved = draft.once((tensor, permutation), lambda: _transposed(draft, tensor, permutation))
    return Value(moved, order, value.features)


def reshaped(draft: Draft, value: Value, shape: Sequence[int]) -> Value:
    """`value` as the network's view of it in `shape` (a view of the network's element order, not of the file's)."""
    shape = tuple(shape)
    if 0 in shape:
        raise draft.unsupported("A view of this tensor has no entries.", "leave out what is empty")
    groups = _groups(value.shape, shape)
    order = _side_by_side(value, groups)
    value = reordered(draft, value, order)
    file_order = [axis for axis in value.order if value.shape[axis] != 1]
    by_first = {before[0]: after for before, after in groups}
    large = [axis for first in file_order if first in by_first for axis in by_first[first]]
    return with_tensor_shape(draft, value.tensor, _with_ones(large, shape), shape)


def keeps_order(value: Value, shape: Sequence[int]) -> bool:
    """Whether `reshaped` to `shape` would do without a TRANSPOSE."""
    return _only_ones_move(value.shape, value.order, _side_by_side(value, _groups(value.shape, tuple(shape))))


def with_tensor_shape(draft: Draft, tensor: Tensor, order: tuple[int, ...], shape: tuple[int, ...]) -> Value:
    """The tensor, its elements as they lie, as a value of the network's `shape` in `order`."""
    return Value(raw_reshape(draft, tensor, tuple(shape[axis] for axis in order)), order)


def raw_reshape(draft: Draft, tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The same elements in the same places under another shape."""
    if tensor.shape == shape:
        return tensor
    if tensor.data is not None:
        return draft.constant(tensor.data.reshape(shape), tensor.name, tensor.quantization)
    return draft.move(
        Op.RESHAPE, [tensor, draft.int32(*shape)], shape, options("ReshapeOptions", newShape=list(shape))
    )


def _transposed(draft: Draft, tensor: Tensor, permutation: tuple[int, ...]) -> Tensor:
    shape = tuple(tensor.shape[axis] for axis in permutation)
    if _only_ones_move(tensor.shape, plain(len(permutation)), permutation):
        return raw_reshape(draft, tensor, shape)
    joined_shape, joined = _joined(tensor.shape, permutation)
    if len(permutation) > max(MAX_TRANSPOSED_AXES, len(joined)):
        return raw_reshape(draft, _transposed(draft, raw_reshape(draft, tensor, joined_shape), joined), shape)
    return draft.move(Op.TRANSPOSE, [tensor, draft.int32(*permutation)], shape, options("TransposeOptions"))


def _joined(shape: tuple[int, ...], permutation: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The same transpose with axes that stay neighbours joined into one, and axes of size 1 left out."""
    runs: list[list[int]] = []
    for axis in (axis for axis in permutation if shape[axis] != 1):
        follows = (
            bool(runs)
            and all(shape[between] == 1 for between in range(runs[-1][-1] + 1, axis))
            and axis > runs[-1][-1]
        )
        if follows:
            runs[-1].append(axis)
        else:
            runs.append([axis])
    sorted_runs = sorted(runs)
    joined_shape = tuple(math.prod(shape[axis] for axis in run) for run in sorted_runs)
    return joined_shape, tuple(sorted_runs.index(run) for run in runs)


def _only_ones_move(shape: tuple[int, ...], before: Sequence[int], after: Sequence[int]) -> bool:
    large = [axis for axis in before if shape[axis] != 1]
    return large == [axis for axis in after if shape[axis] != 1]


def _groups(before: tuple[int, ...], after: tuple[int, ...]) -> list[Group]:
    """The finest pairing of axis runs of two shapes with the same number of elements."""
    left = [axis for axis, size in enumerate(before) if size != 1]
    right = [axis for axis, size in enumerate(after) if size != 1]
    groups: list[Group] = []
    while left:
        taken, given = [left.pop(0)], [right.pop(0)]
        have, want = before[taken[0]], after[given[0]]
        while have != want:
            if have < want:
                taken.append(left.pop(0))
                have *= before[taken[-1]]
            else:
                given.append(right.pop(0))
                want *= after[given[-1]]
        groups.append((tuple(taken), tuple(given)))
    return groups


def _side_by_side(value: Value, groups: list[Group]) -> tuple[int, ...]:
    """The value's order, changed as little as needed for the axes of each group to be neighbours, ascending."""
    group_of = {axis: before for before, _ in groups for axis in before}
    order: list[int] = []
    for axis in value.order:
        if axis not in order:
            order.extend(group_of.get(axis, (axis,)))
    large = [axis for axis in value.order if value.shape[axis] != 1]
    unchanged = large == [axis for axis in order if value.shape[axis] != 1]
    return value.order if unchanged else tuple(order)


def _with_ones(large: list[int], shape: tuple[int, ...]) -> tuple[int, ...]:
    """An order of all axes of `shape` in which the `large` ones come as given: plain or NHWC where possible."""
    rank = len(shape)
    for order in (plain(rank), NHWC):
        if len(order) == rank and [axis for axis in order if shape[axis] != 1] == large:
            return order
    return (*(axis for axis in range(rank) if axis not in large), *large)


def feature_order(value: Value) -> np.ndarray:
    """For a value flattened as it lies after its first axis: the network's feature number of each entry."""
    numbers = np.arange(math.prod(value.shape[1:])).reshape(value.shape[1:])
    in_the_file: np.ndarray = numbers.transpose([axis - 1 for axis in value.order[1:]])
    return in_the_file.reshape(-1)
