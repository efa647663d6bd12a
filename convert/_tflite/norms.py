"""Normalization by what the network sees: over features, groups of channels, or single channels of a sample."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from torch.fx import Node

from edgepress.convert._tflite.calls import Call
from edgepress.convert._tflite.draft import Draft, Value, lower, options
from edgepress.convert._tflite.layout import plain, raw_reshape, reordered
from edgepress.convert._tflite.model import Op, Tensor
from edgepress.convert._tflite.quantize import read
from edgepress.graph import aten


@lower(aten.layer_norm.default)
def layer_norm(call: Call, draft: Draft) -> Value:
    """Over the last axes (Ba et al., 2016)."""
    value = read(draft, call.source)
    count = len(call.arguments["normalized_shape"])
    axes = [value.axis(-1 - number) for number in range(count)]
    result = value.holding(standardized(draft, value.tensor, axes, call.arguments["eps"]))
    return _scaled(call, draft, result, tuple(range(len(value.order) - count, len(value.order))))


@lower(aten.group_norm.default)
def group_norm(call: Call, draft: Draft) -> Value:
    """Over each group of channels (Wu and He, 2018): in the file the groups are the third axis of four."""
    value = _channels_last(draft, read(draft, call.source))
    batch, *area, channels = value.tensor.shape
    groups = call.arguments["num_groups"]
    grouped = raw_reshape(draft, value.tensor, (batch, math.prod(area), groups, channels // groups))
    made = standardized(draft, grouped, (1, 3), call.arguments["eps"])
    return _scaled(call, draft, value.holding(raw_reshape(draft, made, value.tensor.shape)), (1,))


@lower(aten.instance_norm.default)
def instance_norm(call: Call, draft: Draft) -> Value:
    """Over each channel of a sample (Ulyanov et al., 2016)."""
    if not call.arguments["use_input_stats"]:
        raise draft.unsupported(
            "This instance norm uses running statistics.", "use a batch norm, which is the same then"
        )
    value = _channels_last(draft, read(draft, call.source))
    axes = range(1, len(value.order) - 1)
    result = value.holding(standardized(draft, value.tensor, axes, call.arguments["eps"]))
    return _scaled(call, draft, result, (1,))


@lower(aten.linalg_vector_norm.default)
def vector_norm(call: Call, draft: Draft) -> Value:
    """The square root of the sum of squares (SSD scales features by it: Liu et al., 2016)."""
    value = read(draft, call.source)
    rank, dims = len(value.order), call.arguments["dim"]
    if call.arguments["ord"] != 2 or not dims or not call.arguments["keepdim"]:
        raise draft.unsupported(
            "Only Euclidean norms that keep their axes are there.", "use keepdim=True, and squeeze"
        )
    axes = sorted(value.axis(axis % rank) for axis in dims)
    shape = [1 if axis in axes else size for axis, size in enumerate(value.tensor.shape)]
    squares = draft.combine(Op.MUL, value.tensor, value.tensor)
    made = options("ReducerOptions", keepDims=True)
    total = draft.compute(Op.SUM, [squares, draft.int32(*axes)], shape, made)
    return value.holding(draft.compute(Op.SQRT, [total], shape))


def standardized(draft: Draft, tensor: Tensor, axes: Sequence[int], eps: float) -> Tensor:
    """(x - mean) / sqrt(variance + eps) over the file's `axes`."""
    kept = tuple(1 if axis in axes else size for axis, size in enumerate(tensor.shape))

    def mean(of: Tensor) -> Tensor:
        made = options("ReducerOptions", keepDims=True)
        return draft.compute(Op.MEAN, [of, draft.int32(*sorted(axes))], kept, made)

    centred = draft.combine(Op.SUB, tensor, mean(tensor))
    variance = mean(draft.combine(Op.MUL, centred, centred))
    stable = draft.combine(Op.ADD, variance, draft.constant(np.array(eps, np.float32)))
    return draft.combine(Op.MUL, centred, draft.compute(Op.RSQRT, [stable], kept))


def _scaled(call: Call, draft: Draft, value: Value, axes: tuple[int, ...]) -> Value:
    """`value` times the call's weight plus its bias, which lie on the network's `axes`."""
    for name, code in (("weight", Op.MUL), ("bias", Op.ADD)):
        node = call.arguments[name]
        if node is None:
            continue
        array = draft.array(node)
        if array is None:
            raise draft.unsupported(f"The {name} is computed from the input.", "use one that is a parameter")
        assert isinstance(node, Node)
        shape = [size if axis in axes else 1 for axis, size in enumerate(value.shape)]
        constant = draft.constant(array.reshape(shape).transpose(value.order), str(node.target))
        value = value.holding(draft.combine(code, value.tensor, constant))
    return value


def _channels_last(draft: Draft, value: Value) -> Value:
    rank = len(value.order)
    return reordered(draft, value, (0, *plain(rank)[2:], 1))
