"""Activation functions and other operators of one tensor, entry by entry."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from edgepress.convert._tflite.calls import BOUNDED, CLAMPS, Call, bounds
from edgepress.convert._tflite.draft import Draft, Value, lower, options
from edgepress.convert._tflite.model import Op, Quantization, Tensor, per_tensor
from edgepress.convert._tflite.quantize import WHOLE_TYPES, quantized_constant, read, real
from edgepress.graph import aten

SIGMOID = (aten.sigmoid.default, aten.sigmoid_.default)
TANH = (aten.tanh.default, aten.tanh_.default)
SILU = (aten.silu.default, aten.silu_.default)
HARDSWISH = (aten.hardswish.default, aten.hardswish_.default)
HARDSIGMOID = (aten.hardsigmoid.default, aten.hardsigmoid_.default)
LEAKY_RELU = (aten.leaky_relu.default, aten.leaky_relu_.default)
ELU = (aten.elu.default, aten.elu_.default)

ELEMENT_BY_ELEMENT = (
    *BOUNDED,
    *SIGMOID,
    *TANH,
    *SILU,
    *HARDSWISH,
    *HARDSIGMOID,
    *LEAKY_RELU,
    *ELU,
    aten.gelu.default,
)

CLAMP_CODES = {"RELU": Op.RELU, "RELU6": Op.RELU6, "RELU_N1_TO_1": Op.RELU_N1_TO_1}
UNARY: dict[Callable[..., Any], int] = {
    aten.exp.default: Op.EXP, aten.sqrt.default: Op.SQRT, aten.rsqrt.default: Op.RSQRT, aten.abs.default: Op.ABS,
    aten.neg.default: Op.NEG, aten.log.default: Op.LOG, aten.sin.default: Op.SIN, aten.cos.default: Op.COS,
    aten.floor.default: Op.FLOOR, aten.square.default: Op.SQUARE, aten.ceil.default: Op.CEIL, aten.round.default: Op.ROUND,
    aten.sign.default: Op.SIGN,
}  # fmt: skip

SELU = (1.6732632423543772, 1.0507009873554805)
"""Its alpha and scale (Klambauer et al., 2017)."""
ERF_STEP = 0.3275911
ERF_COEFFICIENTS = (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592)

SIGMOID_CODE = per_tensor(1 / 256, -128)
TANH_CODE = per_tensor(1 / 128, 0)
"""The only int8 codes in which LiteRT's specification lets LOGISTIC and TANH give their result."""


@lower(*BOUNDED, int8="moves")
def clamp(call: Call, draft: Draft) -> Value:
    """RELU and its like where the interval is one of theirs, else MAXIMUM and MINIMUM; int8 keeps its scale."""
    value = real(draft, draft.value(call.source))
    interval = bounds(call.node)
    assert interval is not None
    if interval in CLAMPS:
        return value.holding(draft.move(CLAMP_CODES[CLAMPS[interval]], [value.tensor], value.tensor.shape))
    for bound, code in zip(interval, (Op.MAXIMUM, Op.MINIMUM), strict=True):
        if _is_exceeded(value.tensor, bound):
            inputs = [value.tensor, _in_the_code_of(draft, value.tensor, bound)]
            made = draft.move(code, inputs, value.tensor.shape, options("MaximumMinimumOptions"))
            value = value.holding(made)
    return value


@lower(*SIGMOID, int8="computes")
def sigmoid(call: Call, draft: Draft) -> Value:
    value = read(draft, call.source)
    return value.holding(_logistic(draft, value.tensor))


@lower(*TANH, int8="computes")
def tanh(call: Call, draft: Draft) -> Value:
    value = read(draft, call.source)
    return value.holding(draft.compute(Op.TANH, [value.tensor], value.tensor.shape, quantization=TANH_CODE))


@lower(*SILU, int8="computes")
def silu(call: Call, draft: Draft) -> Value:
    """x * sigmoid(x)"""
    value = read(draft, call.source)
    factors = [value.tensor, _logistic(draft, value.tensor)]
    return value.holding(draft.compute(Op.MUL, factors, value.tensor.shape, options("MulOptions")))


@lower(*HARDSWISH, int8="computes")
def hardswish(call: Call, draft: Draft) -> Value:
    value = read(draft, call.source)
    made = draft.compute(Op.HARD_SWISH, [value.tensor], value.tensor.shape, options("HardSwishOptions"))
    return value.holding(made)


@lower(*HARDSIGMOID, int8="computes")
def hardsigmoid(call: Call, draft: Draft) -> Value:
    """relu6(x + 3) / 6; in int8 the sum takes the result's code six times as wide, so no step is lost."""
    value = read(draft, call.source)
    wide = None
    if draft.int8:
        assert call.quantization is not None
        wide = per_tensor(6 * call.quantization.scale, call.quantization.zero_point)
    shape = value.tensor.shape
    relu6 = options("AddOptions", fusedActivationFunction=3)
    sum_ = draft.compute(Op.ADD, [value.tensor, _number(draft, 3.0)], shape, relu6, wide)
    return value.holding(draft.compute(Op.MUL, [sum_, _number(draft, 1 / 6)], shape, options("MulOptions")))


@lower(*LEAKY_RELU, int8="computes")
def leaky_relu(call: Call, draft: Draft) -> Value:
    value = read(draft, call.source)
    made = options("LeakyReluOptions", alpha=float(call.arguments["negative_slope"]))
    return value.holding(draft.compute(Op.LEAKY_RELU, [value.tensor], value.tensor.shape, made))


@lower(*ELU, aten.celu.default, aten.selu.default, aten.selu_.default)
def elu(call: Call, draft: Draft) -> Value:
    """ELU has alpha 1; otherwise the two sides are computed apart: scale x (relu(x) + alpha x min(elu(x), 0))."""
    value = read(draft, call.source)
    alpha, scale = SELU if call.target in (aten.selu.default, aten.selu_.default) else (1.0, 1.0)
    alpha, scale = call.arguments.get("alpha", alpha), call.arguments.get("scale", scale)
    if call.arguments.get("input_scale", 1) != 1 or (call.target is aten.celu.default and alpha != 1):
        raise draft.unsupported("TFLite has no ELU of a scaled input.", "use alpha=1, or another activation")
    made = draft.compute(Op.ELU, [value.tensor], value.tensor.shape)
    if (alpha, scale) == (1, 1):
        return value.holding(made)
    below = draft.combine(Op.MINIMUM, made, _number(draft, 0.0))
    below = draft.combine(Op.MUL, below, _number(draft, alpha * scale))
    above = draft.compute(Op.RELU, [value.tensor], value.tensor.shape)
    above = draft.combine(Op.MUL, above, _number(draft, scale))
    return value.holding(draft.combine(Op.ADD, above, below))


@lower(aten.softplus.default, aten.mish.default, aten.mish_.default)
def softplus(call: Call, draft: Draft) -> Value:
    """max(x, 0) + log(1 + exp(-|x|)), which overflows nowhere; mish is x times its tanh (Misra, 2019)."""
    value = read(draft, call.source)
    if call.arguments.get("beta", 1) != 1:
        raise draft.unsupported("TFLite has no softplus with a beta.", "use beta=1")
    x, shape = value.tensor, value.tensor.shape
    small = draft.compute(Op.NEG, [draft.compute(Op.ABS, [x], shape)], shape)
    small = draft.combine(Op.ADD, draft.compute(Op.EXP, [small], shape), _number(draft, 1.0))
    made = draft.combine(Op.ADD, draft.compute(Op.RELU, [x], shape), draft.compute(Op.LOG, [small], shape))
    if call.target is not aten.softplus.default:
        made = draft.combine(Op.MUL, x, draft.compute(Op.TANH, [made], shape))
    return value.holding(made)


@lower(aten.erf.default)
def erf(call: Call, draft: Draft) -> Value:
    """1 - polynomial(1 / (1 + p |x|)) x exp(-x x), with the sign of x: good to 1.5e-7 (Hastings, 1955)."""
    value = read(draft, call.source)
    x, shape = value.tensor, value.tensor.shape
    scaled = draft.combine(Op.MUL, draft.compute(Op.ABS, [x], shape), _number(draft, ERF_STEP))
    inverse = draft.compute(
        Op.DIV,
        [_number(draft, 1.0), draft.combine(Op.ADD, scaled, _number(draft, 1.0))],
        shape,
        options("DivOptions"),
    )
    first, *more = ERF_COEFFICIENTS
    polynomial = draft.combine(Op.MUL, inverse, _number(draft, first))
    for coefficient in more:
        polynomial = draft.combine(Op.ADD, polynomial, _number(draft, coefficient))
        polynomial = draft.combine(Op.MUL, polynomial, inverse)
    bell = draft.compute(Op.EXP, [draft.compute(Op.NEG, [draft.combine(Op.MUL, x, x)], shape)], shape)
    size = draft.compute(
        Op.SUB, [_number(draft, 1.0), draft.combine(Op.MUL, polynomial, bell)], shape, options("SubOptions")
    )
    return value.holding(draft.combine(Op.MUL, size, draft.compute(Op.SIGN, [x], shape)))


@lower(aten.gelu.default, int8="computes")
def gelu(call: Call, draft: Draft) -> Value:
    value = read(draft, call.source)
    made = options("GeluOptions", approximate=call.arguments["approximate"] == "tanh")
    return value.holding(draft.compute(Op.GELU, [value.tensor], value.tensor.shape, made))


@lower(aten.prelu.default, int8="computes")
def prelu(call: Call, draft: Draft) -> Value:
    """The slope of each channel stands on the file's channel axis."""
    value = read(draft, call.source)
    slopes = draft.array(call.arguments["weight"])
    if slopes is None:
        raise draft.unsupported("The slope is computed from the input.", "use a slope that is a parameter")
    shape = [1] * (len(value.order) - 1)
    if len(value.order) > 1:
        shape[value.axis(1) - 1] = slopes.size
    slopes, name = slopes.reshape(shape), str(call.arguments["weight"].target)
    alpha = quantized_constant(draft, slopes, name) if draft.int8 else draft.constant(slopes, name)
    return value.holding(draft.compute(Op.PRELU, [value.tensor, alpha], value.tensor.shape))


@lower(*UNARY)
def unary(call: Call, draft: Draft) -> Value:
    if draft.result_type() in WHOLE_TYPES:
        return _unary_whole(call, draft)
    value = read(draft, call.source)
    return value.holding(draft.compute(UNARY[call.target], [value.tensor], value.tensor.shape))


def _unary_whole(call: Call, draft: Draft) -> Value:
    """Of whole numbers TFLite knows the negative, and the larger of two."""
    value = draft.value(call.source)
    tensor, shape, dtype = value.tensor, value.tensor.shape, value.tensor.dtype
    if call.target not in (aten.neg.default, aten.abs.default):
        raise draft.unsupported("TFLite computes this of real numbers only.", "convert to float32 before")
    made = draft.give(Op.NEG, [tensor], shape, dtype, options("NegOptions"))
    if call.target is aten.abs.default:
        made = draft.give(Op.MAXIMUM, [tensor, made], shape, dtype, options("MaximumMinimumOptions"))
    return value.holding(made)


def _is_exceeded(tensor: Tensor, bound: float) -> bool:
    """Whether the tensor can hold numbers beyond the bound: not where its int8 code ends there."""
    if tensor.quantization is None:
        return math.isfinite(bound)
    return math.isfinite(bound) and -128 < tensor.quantization.integer(bound) < 127


def _logistic(draft: Draft, tensor: Tensor) -> Tensor:
    return draft.compute(Op.LOGISTIC, [tensor], tensor.shape, quantization=SIGMOID_CODE)


def _number(draft: Draft, value: float) -> Tensor:
    return read(draft, value).tensor


def _in_the_code_of(draft: Draft, tensor: Tensor, value: float) -> Tensor:
    """A constant that MAXIMUM and MINIMUM can compare with the tensor's integers."""
    code: Quantization | None = tensor.quantization
    if code is None:
        return draft.constant(np.array(value, np.float32))
    return draft.constant(np.array(code.integer(value), code.dtype), quantization=code)
