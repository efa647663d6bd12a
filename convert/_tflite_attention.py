"""Softmax, products of matrices and layer normalization."""

from __future__ import annotations

import numpy as np

from edgepress.convert._tflite_calls import Call
from edgepress.convert._tflite_draft import Draft, Op, Value, lower, options
from edgepress.convert._tflite_layout import plain, reordered, reshaped
from edgepress.convert._tflite_model import per_tensor
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
    """BATCH_MATMUL of the plain orders; vectors become matrices and the result is viewed back."""
    left = read(draft, call.source)
    right = read(draft, call.arguments["other" if "other" in call.arguments else "mat2"])
    if len(left.order) == 1:
        left = reshaped(draft, left, (1, *left.shape))
    if len(right.order) == 1:
        right = reshaped(draft, right, (*right.shape, 1))
    rank = max(len(left.order), len(right.order))
    left, right = (
        reordered(
            draft, reshaped(draft, value, (*[1] * (rank - len(value.order)), *value.shape)), plain(rank)
        )
        for value in (left, right)
    )
    batch = np.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    shape = (*batch, left.shape[-2], right.shape[-1])
    made = draft.compute(Op.BATCH_MATMUL, [left.tensor, right.tensor], shape, options("BatchMatMulOptions"))
    return reshaped(draft, Value(made, plain(rank)), call.result)


def _axis_last(draft: Draft, value: Value, axis: int) -> Value:
    """The value with the network's `axis` last in the file."""
    axis %= len(value.order)
    return reordered(draft, value, (*(other for other in value.order if other != axis), axis))
