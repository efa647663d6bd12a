"""Between float and int8, by LiteRT's 8-bit quantization specification and with the graph's own scales."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.fx import Node

from edgepress.convert._tflite.calls import Call
from edgepress.convert._tflite.draft import Draft, Value, options
from edgepress.convert._tflite.model import INT4, Op, Quantization, Tensor, per_tensor
from edgepress.graph import DEQUANTIZE_CHANNELS, arguments

LARGEST_INT4 = 7

BIAS_TYPES = {np.dtype(np.int8): np.int32, np.dtype(np.int16): np.int64}
"""By the type of what the layer reads."""

LARGEST_BIAS = 2**30
"""The largest int32 that a bias is written as: half the range is left to the sum it starts."""


@dataclass(frozen=True)
class Weight:
    """A layer's weight as the network has it; with `scales` (one for each index of `axis`) it is int8, of at most
    `limit`."""

    name: str
    values: np.ndarray
    scales: np.ndarray | None = None
    axis: int = 0
    limit: int = 127

    def transposed(self, permutation: tuple[int, ...]) -> Weight:
        values = self.values.transpose(permutation)
        return dataclasses.replace(self, values=values, axis=permutation.index(self.axis))

    def real(self) -> np.ndarray:
        if self.scales is None:
            return self.values
        shape = [-1 if axis == self.axis else 1 for axis in range(self.values.ndim)]
        real: np.ndarray = self.values.astype(np.float32) * self.scales.reshape(shape)
        return real


def as_float(draft: Draft, value: Value) -> Value:
    """`value` as float32, through one DEQUANTIZE however many ask."""
    tensor = value.tensor
    if tensor.quantization is None:
        return value

    def dequantized() -> Tensor:
        made = Tensor(f"{tensor.name}/dequantize", tensor.shape, np.dtype(np.float32))
        return draft.emit(Op.DEQUANTIZE, [tensor], made, options("DequantizeOptions"))

    return value.holding(draft.once((tensor, "float"), dequantized))


def requantized(draft: Draft, value: Value, wanted: Quantization) -> Value:
    """`value` as integers in the code `wanted`."""
    tensor = value.tensor
    if tensor.quantization == wanted:
        return value

    def quantized() -> Tensor:
        made = Tensor(f"{tensor.name}/quantize", tensor.shape, wanted.dtype, quantization=wanted)
        return draft.emit(Op.QUANTIZE, [tensor], made, options("QuantizeOptions"))

    return value.holding(draft.once((tensor, wanted), quantized))


def read(draft: Draft, operand: Node | float) -> Value:
    """What an operator that computes reads: in an int8 call int8, else float32; constants included."""
    if isinstance(operand, Node):
        value = real(draft, draft.value(operand))
    else:
        value = Value(draft.constant(np.array(operand, np.float32)), ())
    if not draft.int8:
        return as_float(draft, value)
    if value.tensor.data is not None and value.tensor.quantization is None:
        return value.holding(quantized_constant(draft, value.tensor.data, value.tensor.name))
    return value


def real(draft: Draft, value: Value) -> Value:
    """`value` unless it holds integers or truth values that stand for themselves: those become float32, where the
    operator's result is real as well."""
    tensor = value.tensor
    if tensor.dtype == np.float32 or tensor.quantization is not None:
        return value
    if tensor.data is None and not draft.result_type().is_floating_point:
        raise draft.unsupported(
            f"TFLite computes this with real numbers only, and {tensor.name} is {tensor.dtype}.",
            "convert to float32 before, and back behind",
        )
    return cast_to(draft, value, np.float32)


def whole(draft: Draft, operand: Node | float, dtype: type[np.generic]) -> Value:
    """What an operator on whole numbers (or truth values) reads, in the type of its result."""
    value = (
        draft.value(operand)
        if isinstance(operand, Node)
        else Value(draft.constant(np.array(operand, dtype)), ())
    )
    return cast_to(draft, as_float(draft, value), dtype)


def cast_to(draft: Draft, value: Value, dtype: type[np.generic]) -> Value:
    """The numbers of `value`, which has no code, in another type: reals are cut towards zero."""
    tensor = value.tensor
    if tensor.dtype == dtype:
        return value
    if tensor.data is not None:
        return value.holding(draft.constant(tensor.data.astype(dtype), tensor.name))
    made = draft.once(
        (tensor, dtype), lambda: draft.give(Op.CAST, [tensor], tensor.shape, dtype, options("CastOptions"))
    )
    return value.holding(made)


WHOLE_TYPES: dict[torch.dtype, type[np.generic]] = {torch.int32: np.int32, torch.int64: np.int64}
"""What TFLite has arithmetic for, besides float32 and int8."""


def quantized_constant(draft: Draft, array: np.ndarray, name: str = "") -> Tensor:
    """A float constant as the call's integers, symmetric, its largest entry at the end of their range."""
    dtype = draft.code_type()
    scale = (float(np.abs(array).max(initial=0.0)) or 1.0) / np.iinfo(dtype).max
    return draft.constant(np.round(array / scale).astype(dtype), name, per_tensor(scale, 0, dtype.type))


def weight_of(draft: Draft, call: Call) -> Weight | None:
    """The constant weight of a layer; None when it is computed."""
    node = call.arguments["weight"]
    if isinstance(node, Node) and node.target is DEQUANTIZE_CHANNELS:
        values = arguments(node)
        integers, scales = draft.array(values["input"]), draft.array(values["scales"])
        zero_points = draft.array(values["zero_points"])
        assert integers is not None
        assert scales is not None
        if zero_points is not None and zero_points.any():
            raise draft.unsupported("The int8 weight is not symmetric.", "quantize weights with zero point 0")
        return Weight(str(values["input"].target), integers, scales, values["axis"], values["quant_max"])
    array = draft.array(node)
    return None if array is None else Weight(str(node.target), array)


def layer_constants(
    draft: Draft, weight: Weight, bias: np.ndarray | None, data: Tensor
) -> tuple[Tensor, Tensor]:
    """The tensors of a weight already in the file's order, and of the layer's bias (zeros for None).

    In int8 the bias is int32 with scale input x weight, with int16 activations it is int64. Where that would not hold
    it (a channel of almost zero weights), the channel's scale grows until it does; its integers shrink accordingly.
    """
    channels = weight.values.shape[weight.axis]
    bias = np.zeros(channels, np.float32) if bias is None else bias
    bias_name = f"{weight.name.removesuffix('weight')}bias"
    if not draft.int8:
        return stored(draft, weight), draft.constant(bias, bias_name)
    assert weight.scales is not None
    assert data.quantization is not None
    old = weight.scales.astype(np.float64)
    scales = np.maximum(old, np.abs(bias) / (data.quantization.scale * LARGEST_BIAS))
    along_axis = [-1 if axis == weight.axis else 1 for axis in range(weight.values.ndim)]
    integers = np.round(weight.values * (old / scales).reshape(along_axis)).astype(_type(draft, weight))
    bias_scales = scales * data.quantization.scale
    bias_integers = np.round(bias / bias_scales).astype(BIAS_TYPES[data.dtype])
    return (
        draft.constant(integers, weight.name, _per_channel(scales, weight.axis)),
        draft.constant(bias_integers, bias_name, _per_channel(bias_scales, 0)),
    )


def stored(draft: Draft, weight: Weight) -> Tensor:
    """A weight that is multiplied with floats, as `Stored` says."""
    if weight.scales is None or draft.stored.weights == "floats":
        return draft.constant(weight.real(), weight.name)
    return _integers(draft, weight)


def widened(draft: Draft, weight: Weight) -> Tensor:
    """Integers behind a DEQUANTIZE, which runs once."""
    integers = _integers(draft, weight)
    made = Tensor(f"{weight.name}/dequantize", integers.shape, np.dtype(np.float32))
    return draft.emit(Op.DEQUANTIZE, [integers], made, options("DequantizeOptions"))


def _integers(draft: Draft, weight: Weight) -> Tensor:
    assert weight.scales is not None
    code = _per_channel(weight.scales, weight.axis)
    return draft.constant(weight.values.astype(_type(draft, weight)), weight.name, code)


def _type(draft: Draft, weight: Weight) -> np.dtype[Any]:
    return INT4 if draft.stored.packed and weight.limit <= LARGEST_INT4 else np.dtype(np.int8)


def _per_channel(scales: np.ndarray, axis: int) -> Quantization:
    return Quantization(tuple(map(float, scales)), (0,) * len(scales), axis)
