"""Softmax, products of matrices and attention."""

from __future__ import annotations

import numpy as np
import torch
from torch.fx import Node

from edgepress.convert._tflite.calls import Call
from edgepress.convert._tflite.draft import Draft, Value, lower, options
from edgepress.convert._tflite.layout import plain, reordered, reshaped
from edgepress.convert._tflite.model import Op, Tensor, per_tensor
from edgepress.convert._tflite.quantize import cast_to, read
from edgepress.convert._tflite.reductions import reduced
from edgepress.graph import aten

SOFTMAX_CODE = per_tensor(1 / 256, -128)
LOG_SOFTMAX_CODE = per_tensor(16 / 256, 127)
"""The only int8 codes in which LiteRT's specification lets them give their result."""

LOWEST = np.finfo(np.float32).min
"""What is added of a place that a mask hides. A row of minus infinity would give NaN."""


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


@lower(aten.matmul.default, aten.bmm.default, aten.mm.default, aten.addmm.default)
def matmul(call: Call, draft: Draft) -> Value:
    """FULLY_CONNECTED where the right side is a stored matrix, else BATCH_MATMUL: vectors become matrices, and the
    result is viewed back."""
    arguments = call.arguments
    source = arguments.get("mat1", call.source)
    left, other = read(draft, source), arguments["other" if "other" in arguments else "mat2"]
    stored = draft.array(other)
    if stored is not None and stored.ndim == 2 and len(left.order) > 1:
        return _connected(call, draft, left, stored)
    right = read(draft, other)
    if "mat1" in arguments:
        raise draft.unsupported(
            "The matrix of this addmm is computed from the input.", "write it as a sum and a product"
        )
    if len(left.order) == 1:
        left = reshaped(draft, left, (1, *left.shape))
    if len(right.order) == 1:
        right = reshaped(draft, right, (*right.shape, 1))
    return reshaped(draft, _product(draft, left, right), call.result)


def _connected(call: Call, draft: Draft, left: Value, matrix: np.ndarray) -> Value:
    """left x matrix, plus the summand of an addmm where that is stored as well."""
    rank = len(left.order)
    if left.order[-1] != rank - 1:
        left = reordered(draft, left, plain(rank))
    bias = np.zeros(matrix.shape[1], np.float32)
    if call.target is aten.addmm.default:
        summand = draft.array(call.source)
        if summand is None or summand.ndim != 1:
            raise draft.unsupported(
                "What this addmm adds is no stored vector.", "write it as a sum and a product"
            )
        bias = (bias + summand * call.arguments["beta"]).astype(np.float32)
        matrix = matrix * np.float32(call.arguments["alpha"])
    constants = [draft.constant(matrix.T, f"{call.layer}/matrix"), draft.constant(bias)]
    made = options("FullyConnectedOptions", keepNumDims=rank != 2)
    shape = (*left.tensor.shape[:-1], matrix.shape[1])
    return left.holding(draft.compute(Op.FULLY_CONNECTED, [left.tensor, *constants], shape, made))


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
    asked = call.arguments["attn_mask"]
    if asked is not None:
        mask = _summand(draft, asked)
        mask = reordered(draft, mask, plain(len(mask.order)))
        tensor = draft.compute(Op.ADD, [tensor, mask.tensor], shape, options("AddOptions"))
    tensor = draft.compute(Op.SOFTMAX, [tensor], shape, options("SoftmaxOptions", beta=1.0))
    if asked is not None and _hides_rows(draft, asked):
        sees = _sees(draft, asked)
        tensor = draft.compute(Op.MUL, [tensor, sees.tensor], shape, options("MulOptions"))
    return _product(draft, weights.holding(tensor), value)


def _hides_rows(draft: Draft, mask: Node) -> bool:
    """Whether a row of the mask may show nothing: PyTorch gives zeros then, softmax equal weights."""
    allowed = _allowed(draft, mask)
    return allowed is None or not allowed.any(-1).all()


def _allowed(draft: Draft, mask: Node) -> np.ndarray | None:
    """Which places a stored mask shows: of numbers, those that are not minus infinity."""
    stored = draft.array(mask)
    return stored if stored is None or stored.dtype == np.bool_ else stored >= LOWEST


def _sees(draft: Draft, mask: Node) -> Value:
    """1 for every row that the mask shows anything, 0 for the others."""
    allowed = _allowed(draft, mask)
    if allowed is not None:
        stored = np.asarray(allowed.any(-1, keepdims=True), np.float32)
        return Value(draft.constant(stored, f"{mask.target}/sees"), plain(stored.ndim))
    value = read(draft, mask)
    if mask.meta["val"].dtype != torch.bool:
        # Place by place: the largest of a row of minus infinity alone is the lowest number, to LiteRT.
        made = Tensor(f"{mask.name}/shown", value.tensor.shape, np.dtype(np.bool_))
        places = [value.tensor, draft.constant(np.array(LOWEST))]
        shown = draft.emit(Op.GREATER_EQUAL, places, made, options("GreaterEqualOptions"))
        value = cast_to(draft, value.holding(shown), np.float32)
    most = reduced(draft, Op.REDUCE_MAX, value, (len(value.order) - 1,), keep=True)
    return reordered(draft, most, plain(len(most.order)))


def _summand(draft: Draft, mask: Node) -> Value:
    """The mask as numbers to add, all finite: of truth values, nothing where true and the lowest number where false."""
    stored, is_truth = draft.array(mask), mask.meta["val"].dtype == torch.bool
    if stored is not None:
        summand = np.where(stored, 0, LOWEST) if is_truth else np.maximum(stored, LOWEST)
        return Value(draft.constant(summand.astype(np.float32), str(mask.target)), plain(summand.ndim))
    value = read(draft, mask)
    shape = value.tensor.shape
    if not is_truth:
        places = [value.tensor, draft.constant(np.array(LOWEST))]
        return value.holding(draft.compute(Op.MAXIMUM, places, shape, options("MaximumMinimumOptions")))
    # What is computed when the file runs is 1 where true: from it 1, and that times the highest number.
    below = draft.compute(
        Op.SUB, [value.tensor, draft.constant(np.array(np.float32(1)))], shape, options("SubOptions")
    )
    return value.holding(
        draft.compute(Op.MUL, [below, draft.constant(np.array(-LOWEST))], shape, options("MulOptions"))
    )


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
