"""Convolutions and linear layers."""

from __future__ import annotations

import dataclasses

import numpy as np

from edgepress.convert._tflite.calls import Call
from edgepress.convert._tflite.draft import Draft, Value, activation_code, lower, options
from edgepress.convert._tflite.layout import NHWC, plain, reordered, reshaped
from edgepress.convert._tflite.model import Op, Tensor
from edgepress.convert._tflite.quantize import Weight, layer_constants, read, weight_of
from edgepress.convert._tflite.slices import channels, sliced
from edgepress.convert._tflite.stem import in_wide_pixels
from edgepress.convert._tflite.window import SAME, VALID, Window, Windows, padded
from edgepress.graph import aten, pair

OIHW_TO_OHWI = (0, 2, 3, 1)
OIHW_TO_1HWO = (1, 2, 3, 0)
IOHW_TO_OHWI = (1, 2, 3, 0)
ONE_ROW = Window(length=1, size=1, stride=1, dilation=1, before=0, count=1)


@lower(aten.conv2d.default, aten.conv2d.padding, int8="computes", fuses=True)
def conv2d(call: Call, draft: Draft) -> Value:
    """CONV_2D (which takes groups), or DEPTHWISE_CONV_2D where every input channel is a group."""
    weight = _constant_weight(call, draft)
    value = reordered(draft, read(draft, call.source), NHWC)
    rows, columns = (
        _window(call, axis, value.shape[2 + axis], weight.values.shape[2 + axis], call.result[2 + axis])
        for axis in (0, 1)
    )
    return _convolved(call, draft, value, weight, (rows, columns))


@lower(aten.conv1d.default, aten.conv1d.padding, int8="computes", fuses=True)
def conv1d(call: Call, draft: Draft) -> Value:
    """The same on an image of one row."""
    weight = _constant_weight(call, draft)
    value = read(draft, call.source)
    samples, channels, length = value.shape
    image = reordered(draft, reshaped(draft, value, (samples, channels, 1, length)), NHWC)
    columns = _window(call, 0, length, weight.values.shape[2], call.result[2])
    weight = dataclasses.replace(weight, values=weight.values[:, :, None])
    return reshaped(draft, _convolved(call, draft, image, weight, (ONE_ROW, columns)), call.result)


@lower(aten.linear.default, int8="computes", fuses=True)
def linear(call: Call, draft: Draft) -> Value:
    """FULLY_CONNECTED over the last axis; features that lie in another order permute the weight's columns."""
    weight = _constant_weight(call, draft)
    value = read(draft, call.source)
    rank = len(value.order)
    if value.order[-1] != rank - 1:
        value = reordered(draft, value, plain(rank))
    if value.features is not None:
        weight = dataclasses.replace(weight, values=weight.values[:, value.features])
    constants = layer_constants(draft, weight, draft.array(call.arguments["bias"]), value.tensor)
    made = options(
        "FullyConnectedOptions", fusedActivationFunction=activation_code(call), keepNumDims=rank != 2,
        asymmetricQuantizeInputs=constants[0].data is not None and draft.stored.weights == "read",
    )  # fmt: skip
    shape = (*value.tensor.shape[:-1], weight.values.shape[0])
    return Value(draft.compute(Op.FULLY_CONNECTED, [value.tensor, *constants], shape, made), value.order)


@lower(aten.conv_transpose2d.input, int8="computes", fuses=True)
def conv_transpose2d(call: Call, draft: Draft) -> Value:
    """TRANSPOSE_CONV, one for each group, its kernel spread out where it is dilated."""
    value = reordered(draft, read(draft, call.source), NHWC)
    weight = _constant_weight(call, draft)
    # In bytes: its kernel takes none of 4 bits.
    weight = dataclasses.replace(weight, limit=127) if draft.int8 else _as_floats(weight)
    return _transposed(call, draft, value, weight, call.result)


@lower(aten.conv_transpose1d.default)
def conv_transpose1d(call: Call, draft: Draft) -> Value:
    """The same on an image of one row."""
    value = read(draft, call.source)
    samples, channels, length = value.shape
    image = reordered(draft, reshaped(draft, value, (samples, channels, 1, length)), NHWC)
    row = dataclasses.replace(call, arguments=call.arguments | {
        "stride": (1, *call.arguments["stride"]), "padding": (0, *call.arguments["padding"]),
        "dilation": (1, *call.arguments["dilation"]),
    })  # fmt: skip
    weight = _as_floats(_constant_weight(call, draft))
    weight = dataclasses.replace(weight, values=weight.values[:, :, None])
    batch, outputs, count = call.result
    return reshaped(draft, _transposed(row, draft, image, weight, (batch, outputs, 1, count)), call.result)


def _transposed(call: Call, draft: Draft, value: Value, weight: Weight, result: tuple[int, ...]) -> Value:
    """The transposed convolution of an image in NHWC with a weight in IOHW; `result` is in NCHW."""
    values = _spread(weight.values, pair(call.arguments["dilation"]))
    groups, depth = call.arguments["groups"], value.tensor.shape[3] // call.arguments["groups"]
    bias = draft.array(call.arguments["bias"])
    bias = np.zeros(groups * values.shape[1], np.float32) if bias is None else bias
    parts = [
        _one_transposed(call, draft, part, dataclasses.replace(weight, values=own), own_bias, result)
        for part, own, own_bias in zip(
            (channels(draft, value.tensor, group * depth, depth) for group in range(groups)),
            np.split(values, groups),
            np.split(bias, groups),
            strict=True,
        )
    ]
    if groups == 1:
        return Value(parts[0], NHWC)
    joined = draft.compute(Op.CONCATENATION, parts, _in_nhwc(result), options("ConcatenationOptions", axis=3))
    return Value(joined, NHWC)


def _one_transposed(
    call: Call, draft: Draft, data: Tensor, weight: Weight, bias: np.ndarray, result: tuple[int, ...]
) -> Tensor:
    """The padding is cut off the result: by SAME where it cuts exactly that, else by a SLICE."""
    batch, height, width, _ = _in_nhwc(result)
    strides, cut = pair(call.arguments["stride"]), pair(call.arguments["padding"])
    # A transposed convolution reads its result as a convolution with the same window would read its input.
    same = all(
        Window(length, size, stride, 1, before, count).is_same()
        for length, size, stride, before, count in zip(
            (height, width), weight.values.shape[2:], strides, cut, data.shape[1:3], strict=True
        )
    )
    cut = (0, 0) if same else cut
    full = (batch, height + cut[0], width + cut[1], len(bias))
    made = options(
        "TransposeConvOptions", padding=SAME if same else VALID, strideH=strides[0], strideW=strides[1],
        fusedActivationFunction=activation_code(call),
    )  # fmt: skip
    kernel, summand = layer_constants(draft, weight.transposed(IOHW_TO_OHWI), bias, data)
    inputs = [draft.int32(*full), kernel, data, summand]
    grown = draft.compute(Op.TRANSPOSE_CONV, inputs, full, made)
    return sliced(draft, grown, (0, *cut, 0), (batch, height, width, full[3]))


def _convolved(call: Call, draft: Draft, value: Value, weight: Weight, windows: Windows) -> Value:
    """The convolution of an image in NHWC with a weight in OIHW."""
    rows, columns = windows
    data, groups = value.tensor, call.arguments["groups"]
    if groups == 1:
        data, weight, columns = in_wide_pixels(draft, data, weight, columns)
    data, padding = padded(draft, data, (rows, columns))
    depthwise = groups == data.shape[3] > 1
    weight = weight.transposed(OIHW_TO_1HWO if depthwise else OIHW_TO_OHWI)
    if depthwise and draft.stored.weights == "read":
        weight = dataclasses.replace(weight, limit=127)  # the kernel that takes floats has none of 4 bits
    constants = layer_constants(draft, weight, draft.array(call.arguments["bias"]), data)
    fields = {
        "padding": padding, "strideH": rows.stride, "strideW": columns.stride,
        "dilationHFactor": rows.dilation, "dilationWFactor": columns.dilation,
        "fusedActivationFunction": activation_code(call),
    }  # fmt: skip
    shape = (data.shape[0], rows.count, columns.count, call.result[1])
    if depthwise:
        fields["depthMultiplier"] = shape[3] // data.shape[3]
        code, made = Op.DEPTHWISE_CONV_2D, options("DepthwiseConv2DOptions", **fields)
    else:
        code, made = Op.CONV_2D, options("Conv2DOptions", **fields)
    return Value(draft.compute(code, [data, *constants], shape, made), NHWC)


def _window(call: Call, axis: int, length: int, size: int, count: int) -> Window:
    """Over one axis, with the stride, dilation and padding that the call gives it."""
    stride, dilation = (pair(call.arguments[name])[axis] for name in ("stride", "dilation"))
    padding = call.arguments["padding"]
    if padding == "same":
        before = dilation * (size - 1) // 2
    else:
        before = 0 if padding == "valid" else pair(padding)[axis]
    return Window(length, size, stride, dilation, before, count)


def _constant_weight(call: Call, draft: Draft) -> Weight:
    weight = weight_of(draft, call)
    if weight is None:
        raise draft.unsupported(
            "The weight of this layer is computed from the input.", "use a weight that is a parameter"
        )
    return weight


def _as_floats(weight: Weight) -> Weight:
    return Weight(weight.name, weight.real())


def _spread(weight: np.ndarray, dilation: tuple[int, int]) -> np.ndarray:
    """The kernel with zeros between its entries."""
    if dilation == (1, 1):
        return weight
    height, width = ((size - 1) * apart + 1 for size, apart in zip(weight.shape[2:], dilation, strict=True))
    spread = np.zeros((*weight.shape[:2], height, width), weight.dtype)
    spread[:, :, :: dilation[0], :: dilation[1]] = weight
    return spread


def _in_nhwc(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(shape[axis] for axis in NHWC)
