"""Means, sums, products and extremes over axes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from edgepress.convert._tflite.calls import Call
from edgepress.convert._tflite.draft import Draft, Value, lower, options
from edgepress.convert._tflite.model import Op
from edgepress.convert._tflite.quantize import WHOLE_TYPES, read, whole
from edgepress.graph import aten

REDUCTIONS: dict[Callable[..., Any], int] = {
    aten.mean.dim: Op.MEAN, aten.mean.default: Op.MEAN, aten.sum.dim_IntList: Op.SUM, aten.amax.default: Op.REDUCE_MAX,
    aten.amin.default: Op.REDUCE_MIN, aten.sum.default: Op.SUM,
}  # fmt: skip
OF_TRUTH = {Op.REDUCE_MAX: Op.REDUCE_ANY, Op.REDUCE_MIN: Op.REDUCE_ALL}
"""What the extremes of truth values are."""


@lower(*REDUCTIONS, int8="computes")
def reduce(call: Call, draft: Draft) -> Value:
    return _reduced_as(call, draft, REDUCTIONS[call.target])


@lower(aten.prod.dim_int, aten.prod.default)
def product(call: Call, draft: Draft) -> Value:
    return _reduced_as(call, draft, Op.REDUCE_PROD)


def _reduced_as(call: Call, draft: Draft, code: int) -> Value:
    """In the type of the result: whole numbers, truth values or reals."""
    kind = WHOLE_TYPES.get(draft.result_type())
    if kind is not None:
        return over_axes(call, draft, code, whole(draft, call.source, kind))
    if draft.result_type() == torch.bool:
        return over_axes(call, draft, OF_TRUTH[code], draft.value(call.source))
    return over_axes(call, draft, code, read(draft, call.source))


def over_axes(call: Call, draft: Draft, code: int, value: Value) -> Value:
    """The reduction over the axes that the call names, all where it names none."""
    rank = len(value.order)
    dims = call.arguments.get("dim")
    dims = range(rank) if dims is None or dims == [] else [dims] if isinstance(dims, int) else dims
    axes = tuple(sorted(axis % rank for axis in dims))
    return reduced(draft, code, value, axes, call.arguments.get("keepdim", False))


def reduced(draft: Draft, code: int, value: Value, axes: tuple[int, ...], keep: bool) -> Value:
    """The reduction over the network's `axes`."""
    file_axes = [value.axis(axis) for axis in axes]
    shape = [1 if position in file_axes else size for position, size in enumerate(value.tensor.shape)]
    order = value.order
    if not keep:
        shape = [size for position, size in enumerate(value.tensor.shape) if position not in file_axes]
        left = sorted(axis for axis in value.order if axis not in axes)
        order = tuple(left.index(axis) for axis in value.order if axis in left)
    inputs, made = [value.tensor, draft.int32(*sorted(file_axes))], options("ReducerOptions", keepDims=keep)
    if value.tensor.dtype.kind in "ib" and value.tensor.quantization is None:
        return Value(draft.give(code, inputs, shape, value.tensor.dtype, made), order)
    return Value(draft.compute(code, inputs, shape, made), order)
