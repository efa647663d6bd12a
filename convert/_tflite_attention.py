"""Softmax, products of matrices and layer normalization."""

from __future__ import annotations

import numpy as np
from torch.fx import Node

from edgepress.convert._tflite_calls import Call
from edgepress.convert._tflite_draft import Draft, Value, lower, options
from edgepress.convert._tflite_layout import plain, reordered, reshaped
from edgepress.convert._tflite_model import Op, Tensor, per_tensor
from edgepress.convert._tflite_quantize import read
from edgepress.graph import aten

SOFTMAX_CODE = per_tensor(1 / 256, -128)
LOG_SOFTMAX_CODE = per_tensor(16 / 256, 127)
"""The only int8 codes in which LiteRT's specification lets them give their result."""


@lower(aten.softmax.int, int8="computes")
def softmax(call: Call, draft: Draft) -> Value:
    value = _axis_last(draft, read(draft, call.source), call.arguments["dim"])
    made = options("SoftmaxOptions", beta=1.0)
    return value.holding(draft.compute(Op.SOFTMAX, [value.tensor], value.tensor.shape, made, SOFTMAX_CODE))


@lower(aten.log_softmax.int, int8="computes")
def log_softmax(call: Call, draft: Draft) -> Value:
    value = _axis_last(draft, read(draft, call.source), call.arguments["dim"])
    made = options("LogSoftmaxOptions")
    return value.holding(
        draft.compute(Op.LOG_SOFTMAX, [value.tensor], value.tensor.shape, made, LOG_SOFTMAX_CODE)
    )


@lower(aten.matmul.default, aten.bmm.default, aten.mm.default)
def matmul(call: Call, draft: Draft) -> Value:
    """BATCH_MATMUL; vectors become matrices, and the result is viewed back."""
    left = read(draft, call.source)
    right = read(draft, call.arguments["other" if "other" in call.arguments else "mat2"])
    if len(left.order) == 1:
        left = reshaped(draft, left, (1, *left.shape))
    if len(right.order) == 1:
        right = reshaped(draft, right, (*right.shape, 1))
    return reshaped(draft, _product(draft, left, right), call.result)


@lower(aten.scaled_dot_product_attention.default)
def attention(call: Call, draft: Draft) -> Value:
    """softmax(query x key^T x scale + mask) x value, in the plain order (Vaswani et al., 2017)."""
    query, key, value = (read(draft, call.arguments[name]) for name in ("query", "key", "value"))
    if call.arguments["is_causal"] or call.arguments["dropout_p"]:
        raise draft.unsupported(
            "Attention can be neither causal nor with dropout.", "give the mask as a tensor"
        )
    last = len(key.order) - 1
    swapped = Value(key.tensor, tuple({last: last - 1, last - 1: last}.get(axis, axis) for axis in key.order))
    weights = _product(draft, query, swapped)
    scale = draft.constant(np.array(call.arguments["scale"] or query.shape[-1] ** -0.5, np.float32))
    shape = weights.shape
    tensor = draft.compute(Op.MUL, [weights.tensor, scale], shape, options("MulOptions"))
    if call.arguments["attn_mask"] is not None:
        mask = _summand(draft, call.arguments["attn_mask"])
        mask = reordered(draft, mask, plain(len(mask.order)))
        tensor = draft.compute(Op.ADD, [tensor, mask.tensor], shape, options("AddOptions"))
    tensor = draft.compute(Op.SOFTMAX, [tensor], shape, options("SoftmaxOptions", beta=1.0))
    return _product(draft, weights.holding(tensor), value)


@lower(aten.layer_norm.default)
def layer_norm(call: Call, draft: Draft) -> Value:
    """(x - mean) / sqrt(variance + eps) x weight + bias over the last axes (Ba et al., 2016)."""
    value = read(draft, call.source)
    rank, shape = len(value.order), value.tensor.shape
    axes = sorted(value.axis(-1 - number) for number in range(len(call.arguments["normalized_shape"])))
    kept = tuple(1 if axis in axes else size for axis, size in enumerate(shape))

    def mean(tensor: Tensor) -> Tensor:
        return draft.compute(
            Op.MEAN, [tensor, draft.int32(*axes)], kept, options("ReducerOptions", keepDims=True)
        )

    def binary(code: int, kind: str, left: Tensor, right: Tensor) -> Tensor:
        return draft.compute(code, [left, right], left.shape, options(kind))

    centred = binary(Op.SUB, "SubOptions", value.tensor, mean(value.tensor))
    variance = mean(binary(Op.MUL, "MulOptions", centred, centred))
    stable = binary(
        Op.ADD, "AddOptions", variance, draft.constant(np.array(call.arguments["eps"], np.float32))
    )
    result = binary(Op.MUL, "MulOptions", centred, draft.compute(Op.RSQRT, [stable], kept))
    for name, code, kind in (("weight", Op.MUL, "MulOptions"), ("bias", Op.ADD, "AddOptions")):
        array = draft.array(call.arguments[name])
        if array is not None:
            array = array.reshape([1] * (rank - array.ndim) + list(array.shape)).transpose(value.order)
            result = binary(code, kind, result, draft.constant(array, str(call.arguments[name].target)))
    return value.holding(result)


def _summand(draft: Draft, mask: Node) -> Value:
    """The mask as numbers to add: of truth values, nothing where true and the lowest number where false."""
    allowed = draft.array(mask)
    if allowed is None or allowed.dtype != np.bool_:
        return read(draft, mask)
    summand = np.where(allowed, 0, np.finfo(np.float32).min).astype(np.float32)
    return Value(draft.constant(summand, str(mask.target)), plain(summand.ndim))


def _product(draft: Draft, left: Value, right: Value) -> Value:
    """BATCH_MATMUL of two stacks of matrices, which it broadcasts, in the plain order."""
    rank = max(len(left.order), len(right.order))
    left, right = (
        reordered(
            draft, reshaped(draft, value, (*[1] * (rank - len(value.order)), *value.shape)), plain(rank)
        )
        for value in (left, right)
    )
    stack = np.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    shape = (*stack, left.shape[-2], right.shape[-1])
    made = draft.compute(Op.BATCH_MATMUL, [left.tensor, right.tensor], shape, options("BatchMatMulOptions"))
    return Value(made, plain(rank))


def _axis_last(draft: Draft, value: Value, axis: int) -> Value:
    """The value with the network's `axis` last in the file."""
    axis %= len(value.order)
    return reordered(draft, value, (*(other for other in value.order if other != axis), axis))
