"""Taking parts of a tensor and choosing entries along an axis."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch.fx import Node

from edgepress.convert._tflite.calls import Call
from edgepress.convert._tflite.draft import Draft, Value, lower, options
from edgepress.convert._tflite.layout import plain, reordered, reshaped
from edgepress.convert._tflite.model import Op, Tensor
from edgepress.convert._tflite.quantize import weight_of, widened
from edgepress.graph import aten

MOST_SLICES = 4
"""XNNPACK joins that many in one CONCATENATION; a GATHER it has none of, so that one costs two partitions more."""


@lower(aten.slice.Tensor, int8="moves")
def slice_axis(call: Call, draft: Draft) -> Value:
    values = call.arguments
    value = draft.value(call.source)
    axis, step = value.axis(values["dim"]), values["step"]
    start, _, _ = slice(values["start"], values["end"]).indices(value.tensor.shape[axis])
    count = call.result[values["dim"]]
    if step == 1:
        return _part(draft, value, axis, start, count)
    return chosen(draft, value, axis, np.arange(start, start + count * step, step))


@lower(aten.select.int, int8="moves")
def select(call: Call, draft: Draft) -> Value:
    value = draft.value(call.source)
    axis = value.axis(call.arguments["dim"])
    index = call.arguments["index"] % value.tensor.shape[axis]
    return reshaped(draft, _part(draft, value, axis, index, 1), call.result)


@lower(
    aten.chunk.default, aten.split.Tensor, aten.split_with_sizes.default, aten.split.sizes, aten.unbind.int,
    int8="moves",
)  # fmt: skip
def split(call: Call, draft: Draft) -> list[Value]:
    """A SLICE for each part that is read."""
    value = draft.value(call.source)
    dim = call.arguments["dim"]
    unbound = call.target is aten.unbind.int
    sizes = [1 if unbound else part.shape[dim] for part in call.node.meta["val"]]
    starts = np.cumsum([0, *sizes[:-1]])
    read = {user.args[1] for user in call.node.users}
    parts = [
        _part(draft, value, value.axis(dim), int(start), size) if index in read else value
        for index, (start, size) in enumerate(zip(starts, sizes, strict=True))
    ]
    return [reshaped(draft, part, call.result) if unbound and part is not value else part for part in parts]


@lower(aten.index_select.default, int8="moves")
def index_select(call: Call, draft: Draft) -> Value:
    return _looked_up(draft, draft.value(call.source), call.arguments["dim"], call.arguments["index"])


@lower(aten.index.Tensor, int8="moves")
def index_tensor(call: Call, draft: Draft) -> Value:
    """`x[:, index]` with one tensor of numbers."""
    indices = call.arguments["indices"]
    (dim, node), *more = [(dim, index) for dim, index in enumerate(indices) if index is not None]
    if more or node.meta["val"].dtype == torch.bool:
        raise draft.unsupported(
            "Only one axis can be indexed, by numbers: how many are true depends on the data.",
            "use torch.index_select or torch.where",
        )
    return _looked_up(draft, draft.value(call.source), dim, node)


def _looked_up(draft: Draft, value: Value, dim: int, node: Node) -> Value:
    """Chosen along one axis by a constant vector, or a GATHER by whatever numbers."""
    index = draft.array(node)
    if index is not None and index.ndim <= 1:
        return chosen(draft, value, value.axis(dim), index.reshape(-1))
    places = draft.value(node)
    dim %= len(value.order)
    value, places = (reordered(draft, each, plain(len(each.order))) for each in (value, places))
    shape = (*value.shape[:dim], *places.shape, *value.shape[dim + 1 :])
    made = options("GatherOptions", axis=dim)
    return Value(draft.move(Op.GATHER, [value.tensor, places.tensor], shape, made), plain(len(shape)))


@lower(aten.embedding.default)
def embedding(call: Call, draft: Draft) -> Value:
    weight, indices = weight_of(draft, call), draft.value(call.arguments["indices"])
    if weight is None:
        raise draft.unsupported("The table is computed from the input.", "use a table that is a parameter")
    table = draft.constant(weight.values, weight.name) if weight.scales is None else widened(draft, weight)
    shape = (*indices.tensor.shape, weight.values.shape[1])
    made = draft.move(Op.GATHER, [table, indices.tensor], shape, options("GatherOptions", axis=0))
    return Value(made, (*indices.order, len(indices.order)))


def channels(draft: Draft, tensor: Tensor, start: int, count: int) -> Tensor:
    """Some entries of the last axis."""
    return sliced(draft, tensor, (*[0] * (len(tensor.shape) - 1), start), (*tensor.shape[:-1], count))


def sliced(draft: Draft, tensor: Tensor, begin: Sequence[int], size: Sequence[int]) -> Tensor:
    """The box of the tensor that begins at `begin`; the tensor itself where that is all of it."""
    if tuple(size) == tensor.shape:
        return tensor
    inputs = [tensor, draft.int32(*begin), draft.int32(*size)]
    return draft.move(Op.SLICE, inputs, size, options("SliceOptions"))


def chosen(draft: Draft, value: Value, axis: int, index: np.ndarray) -> Value:
    """The entries `index` of the file's `axis`: slices where they are a few runs, else a GATHER."""
    index = index % value.tensor.shape[axis]
    runs = np.split(index, np.flatnonzero(np.diff(index) != 1) + 1)
    if len(runs) <= MOST_SLICES:
        parts = [_part(draft, value, axis, int(run[0]), len(run)) for run in runs]
        if len(parts) == 1:
            return parts[0]
        code, inputs = Op.CONCATENATION, [part.tensor for part in parts]
        made = options("ConcatenationOptions", axis=axis)
    else:
        code, inputs = Op.GATHER, [value.tensor, draft.constant(index.astype(np.int32))]
        made = options("GatherOptions", axis=axis)
    shape = list(value.tensor.shape)
    shape[axis] = len(index)
    return value.holding(draft.move(code, inputs, shape, made))


def _part(draft: Draft, value: Value, axis: int, start: int, count: int) -> Value:
    begin, size = [0] * len(value.order), list(value.tensor.shape)
    begin[axis], size[axis] = start, count
    return value.holding(sliced(draft, value.tensor, begin, size))
