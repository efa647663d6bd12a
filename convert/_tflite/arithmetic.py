"""Sums, products and their like of two tensors, with broadcasting, and a batch-norm that stands alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from torch.fx import Node

from edgepress.convert._tflite.calls import Call
from edgepress.convert._tflite.draft import COMBINING, Draft, Value, activation_code, lower, options
from edgepress.convert._tflite.layout import reordered, reshaped
from edgepress.convert._tflite.model import Op
from edgepress.convert._tflite.quantize import WHOLE_TYPES, read, whole
from edgepress.convert._tflite.simplify import scale_and_shift
from edgepress.graph import aten

ADD = (aten.add.Tensor, aten.add_.Tensor, aten.add.Scalar)
SUBTRACT = (aten.sub.Tensor, aten.sub_.Tensor, aten.sub.Scalar)
REVERSED_SUBTRACT = (aten.rsub.Tensor, aten.rsub.Scalar)
MULTIPLY = (aten.mul.Tensor, aten.mul_.Tensor, aten.mul.Scalar)
DIVIDE = (aten.div.Tensor, aten.div_.Tensor, aten.div.Scalar)

FLOAT_ONLY: dict[Callable[..., Any], int] = {
    aten.pow.Tensor_Scalar: Op.POW, aten.pow.Tensor_Tensor: Op.POW,
    aten.maximum.default: Op.MAXIMUM, aten.minimum.default: Op.MINIMUM, aten.atan2.default: Op.ATAN2,
    aten.remainder.Tensor: Op.FLOOR_MOD, aten.remainder.Scalar: Op.FLOOR_MOD,
}  # fmt: skip
REALS_ONLY = {Op.POW, Op.ATAN2, Op.DIV}
"""What TFLite has no 64-bit integers for."""


@lower(*ADD, int8="computes", fuses=True)
def add(call: Call, draft: Draft) -> Value:
    return _binary(call, draft, Op.ADD, call.source, _scaled_other(call))


@lower(*SUBTRACT, int8="computes", fuses=True)
def subtract(call: Call, draft: Draft) -> Value:
    return _binary(call, draft, Op.SUB, call.source, _scaled_other(call))


@lower(*REVERSED_SUBTRACT, int8="computes", fuses=True)
def reversed_subtract(call: Call, draft: Draft) -> Value:
    """other - self x alpha"""
    alpha, other = call.arguments["alpha"], call.arguments["other"]
    if alpha != 1 and not isinstance(other, Node):
        raise draft.unsupported(
            "TFLite has no number minus a multiple of a tensor.", "multiply first, then subtract"
        )
    return _binary(call, draft, Op.SUB, other, call.source)


@lower(*MULTIPLY, int8="computes", fuses=True)
def multiply(call: Call, draft: Draft) -> Value:
    return _binary(call, draft, Op.MUL, call.source, call.arguments["other"])


@lower(*DIVIDE, int8="computes", fuses=True)
def divide(call: Call, draft: Draft) -> Value:
    """By a number: MUL with its inverse, which int8 has too; by a tensor: DIV."""
    other = call.arguments["other"]
    if isinstance(other, Node):
        return _binary(call, draft, Op.DIV, call.source, other)
    return _binary(call, draft, Op.MUL, call.source, 1.0 / other)


@lower(*FLOAT_ONLY)
def float_only(call: Call, draft: Draft) -> Value:
    other = call.arguments["exponent"] if "exponent" in call.arguments else call.arguments["other"]
    return _binary(call, draft, FLOAT_ONLY[call.target], call.source, other)


@lower(aten.batch_norm.default, fuses=True)
def batch_norm(call: Call, draft: Draft) -> Value:
    """MUL and ADD with one number a channel: only where no convolution could take it up."""
    value = read(draft, call.source)
    scale, shift = (part.float().numpy() for part in scale_and_shift(draft.graph_module, call.node))
    shape = np.ones(len(value.order), np.int64)
    shape[value.axis(1)] = len(scale)
    factor, summand = (draft.constant(part.reshape(shape)) for part in (scale, shift))
    product = draft.compute(Op.MUL, [value.tensor, factor], value.tensor.shape, options("MulOptions"))
    made = options("AddOptions", fusedActivationFunction=activation_code(call))
    return value.holding(draft.compute(Op.ADD, [product, summand], value.tensor.shape, made))


def takes_int8(call: Call) -> bool:
    """Whether TFLite has the operation in int8: not a quotient of tensors, nor a weighted sum."""
    by_tensor = call.target in DIVIDE and isinstance(call.arguments["other"], Node)
    weighted = call.arguments.get("alpha", 1) != 1 and isinstance(call.arguments["other"], Node)
    return not by_tensor and not weighted


def _scaled_other(call: Call) -> Any:
    """The second operand; `alpha` multiplies it there and then when it is a number."""
    other = call.arguments["other"]
    return other if isinstance(other, Node) else other * call.arguments.get("alpha", 1)


def _binary(call: Call, draft: Draft, code: int, left: Any, right: Any) -> Value:
    if code not in REALS_ONLY and draft.result_type() in WHOLE_TYPES:
        return _of_whole_numbers(call, draft, code, left, right)
    first, second = (at_rank(draft, read(draft, operand), len(call.result)) for operand in (left, right))
    alpha = call.arguments.get("alpha", 1)
    first, second = in_one_order(draft, [first, second])
    order = first.order
    if alpha != 1 and isinstance(call.arguments["other"], Node):
        factor = draft.constant(np.array(alpha, np.float32))
        scaled = draft.compute(Op.MUL, [second.tensor, factor], second.tensor.shape, options("MulOptions"))
        second = second.holding(scaled)
    fields = (
        {"fusedActivationFunction": activation_code(call)} if code in (Op.ADD, Op.SUB, Op.MUL, Op.DIV) else {}
    )
    shape = tuple(call.result[axis] for axis in order)
    made = draft.compute(code, [first.tensor, second.tensor], shape, options(COMBINING[code], **fields))
    return Value(made, order)


def _of_whole_numbers(call: Call, draft: Draft, code: int, left: Any, right: Any) -> Value:
    dtype = WHOLE_TYPES[draft.result_type()]
    operands = [at_rank(draft, whole(draft, operand, dtype), len(call.result)) for operand in (left, right)]
    first, second = in_one_order(draft, operands)
    alpha = call.arguments.get("alpha", 1)
    if alpha != 1 and isinstance(call.arguments["other"], Node):
        factor = draft.constant(np.array(alpha, dtype))
        scaled = draft.give(
            Op.MUL, [second.tensor, factor], second.tensor.shape, dtype, options("MulOptions")
        )
        second = second.holding(scaled)
    shape = tuple(call.result[axis] for axis in first.order)
    made = draft.give(code, [first.tensor, second.tensor], shape, dtype, options(COMBINING[code]))
    return Value(made, first.order)


def in_one_order(draft: Draft, values: list[Value]) -> list[Value]:
    """Values of one rank, all in the order of the largest."""
    order = max(values, key=lambda value: np.prod(value.shape)).order
    return [reordered(draft, value, order) for value in values]


def at_rank(draft: Draft, value: Value, rank: int) -> Value:
    """The value with axes of size 1 in front, as broadcasting reads it."""
    missing = rank - len(value.order)
    return reshaped(draft, value, (*[1] * missing, *value.shape)) if missing else value
