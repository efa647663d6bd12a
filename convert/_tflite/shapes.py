"""Views, permutes, padding and joining: operators that move values and compute none."""

from __future__ import annotations

import math
import operator

import numpy as np
from torch.fx import Node

from edgepress.convert._tflite.activations import ELEMENT_BY_ELEMENT
from edgepress.convert._tflite.calls import Call, quantization_of
from edgepress.convert._tflite.draft import Draft, Value, lower, options
from edgepress.convert._tflite.layout import (
    NHWC,
    feature_order,
    keeps_order,
    plain,
    raw_reshape,
    reordered,
    reshaped,
)
from edgepress.convert._tflite.model import Op
from edgepress.convert._tflite.quantize import as_float, requantized
from edgepress.convert._tflite.slices import sliced
from edgepress.convert._tflite.window import pad
from edgepress.graph import DEQUANTIZE, QUANTIZE, aten

FEATURES_PASS = {*ELEMENT_BY_ELEMENT, QUANTIZE, DEQUANTIZE}


@lower(
    aten.view.default, aten.reshape.default, aten._unsafe_view.default, aten.flatten.using_ints, aten.unflatten.int,
    aten.squeeze.default, aten.squeeze.dim, aten.squeeze.dims, aten.unsqueeze.default,
    int8="moves",
)  # fmt: skip
def view(call: Call, draft: Draft) -> Value:
    """RESHAPE where the file's order allows; a flatten that only linear layers read leaves the order to them."""
    value = draft.value(call.source)
    rows = call.result[0]
    flattens = len(call.result) == 2 and value.shape[0] == rows and value.order[0] == 0
    if flattens and not keeps_order(value, call.result) and _only_linear_reads(call.node):
        return Value(raw_reshape(draft, value.tensor, call.result), plain(2), feature_order(value))
    return reshaped(draft, value, call.result)


@lower(aten.permute.default, aten.transpose.int, aten.t.default, aten.numpy_T.default, int8="moves")
def permute(call: Call, draft: Draft) -> Value:
    """Nothing in the file: the same tensor under another order."""
    value = draft.value(call.source)
    axes = list(range(len(value.order)))
    if call.target is aten.permute.default:
        axes = [axis % len(axes) for axis in call.arguments["dims"]]
    elif call.target is aten.transpose.int:
        first, second = call.arguments["dim0"], call.arguments["dim1"]
        axes[first], axes[second] = axes[second], axes[first]
    else:
        axes.reverse()
    return Value(value.tensor, tuple(axes.index(axis) for axis in value.order))


@lower(aten.channel_shuffle.default, aten.native_channel_shuffle.default, int8="moves")
def channel_shuffle(call: Call, draft: Draft) -> Value:
    """The same as the view-transpose-view spelling."""
    return _channels_swapped(draft, draft.value(call.source), call.arguments["groups"])


@lower(aten.pixel_shuffle.default, int8="moves")
def pixel_shuffle(call: Call, draft: Draft) -> Value:
    """DEPTH_TO_SPACE, which has the places of a block before its channels: a channel shuffle goes before it."""
    value, factor = draft.value(call.source), call.arguments["upscale_factor"]
    *stack, channels, height, width = value.shape
    samples, blocks = math.prod(stack), channels // factor**2
    image = reshaped(draft, value, (samples, channels, height, width))
    image = reordered(draft, _channels_swapped(draft, image, blocks), NHWC)
    shape = (samples, height * factor, width * factor, blocks)
    made = options("DepthToSpaceOptions", blockSize=factor)
    return reshaped(
        draft, image.holding(draft.move(Op.DEPTH_TO_SPACE, [image.tensor], shape, made)), call.result
    )


@lower(aten.pixel_unshuffle.default, int8="moves")
def pixel_unshuffle(call: Call, draft: Draft) -> Value:
    """SPACE_TO_DEPTH, and a channel shuffle behind it."""
    value, factor = draft.value(call.source), call.arguments["downscale_factor"]
    *stack, channels, height, width = value.shape
    image = reordered(draft, reshaped(draft, value, (math.prod(stack), channels, height, width)), NHWC)
    shape = (image.tensor.shape[0], height // factor, width // factor, channels * factor**2)
    made = options("SpaceToDepthOptions", blockSize=factor)
    deep = image.holding(draft.move(Op.SPACE_TO_DEPTH, [image.tensor], shape, made))
    return reshaped(draft, _channels_swapped(draft, deep, factor**2), call.result)


def _channels_swapped(draft: Draft, value: Value, groups: int) -> Value:
    """(groups, channels of one) -> (channels of one, groups) on axis 1."""
    batch, channels, *area = value.shape
    split = reshaped(draft, value, (batch, groups, channels // groups, *area))
    swapped = Value(split.tensor, tuple({1: 2, 2: 1}.get(axis, axis) for axis in split.order))
    return reshaped(draft, swapped, value.shape)


@lower(aten.cat.default, aten.concat.default, int8="moves")
def concatenate(call: Call, draft: Draft) -> Value:
    nodes = [node for node in call.arguments["tensors"] if node.meta["val"].numel() > 0]
    return _joined(call, draft, [draft.value(node) for node in nodes])


@lower(aten.stack.default, int8="moves")
def stack(call: Call, draft: Draft) -> Value:
    """CONCATENATION along a new axis of size 1."""
    axis = call.arguments["dim"] % len(call.result)
    values = [draft.value(node) for node in call.arguments["tensors"]]
    raised = [reshaped(draft, value, (*value.shape[:axis], 1, *value.shape[axis:])) for value in values]
    return _joined(call, draft, raised)


def _joined(call: Call, draft: Draft, values: list[Value]) -> Value:
    """CONCATENATION along the call's `dim`. LiteRT's specification wants one scale for all int8 inputs and the output: where
    the network gives none, and those of the inputs differ, none of them reaches as far as all others need."""
    codes = {value.tensor.quantization for value in values}
    wanted = call.quantization or next(iter(codes))
    if wanted is None or None in codes or (call.quantization is None and len(codes) > 1):
        values = [as_float(draft, value) for value in values]
    else:
        values = [requantized(draft, value, wanted) for value in values]
    order = max(values, key=lambda value: np.prod(value.shape)).order
    tensors = [reordered(draft, value, order).tensor for value in values]
    shape = tuple(call.result[axis] for axis in order)
    axis = order.index(call.arguments["dim"] % len(order))
    return Value(
        draft.move(Op.CONCATENATION, tensors, shape, options("ConcatenationOptions", axis=axis)), order
    )


@lower(aten.pad.default, aten.constant_pad_nd.default, int8="moves")
def constant_pad(call: Call, draft: Draft) -> Value:
    values = call.arguments
    if values.get("mode", "constant") not in ("constant", "reflect"):
        raise draft.unsupported(
            f"TFLite has no padding in mode {values['mode']!r}.", "use constant or reflect"
        )
    value, fill = draft.value(call.source), float(values.get("value") or 0.0)
    if fill:  # int8 need not reach as far
        value = as_float(draft, value)
    rank = len(value.order)
    amounts = [(0, 0)] * rank
    begin, size = [0] * rank, list(value.tensor.shape)
    for number, axis in enumerate(range(rank - 1, rank - 1 - len(values["pad"]) // 2, -1)):
        before, after = values["pad"][2 * number : 2 * number + 2]
        place = value.axis(axis)
        begin[place] = max(-before, 0)
        size[place] += min(before, 0) + min(after, 0)
        amounts[place] = (max(before, 0), max(after, 0))
    value = value.holding(sliced(draft, value.tensor, begin, size))
    if values.get("mode") == "reflect":
        shape = [size + sum(around) for size, around in zip(value.tensor.shape, amounts, strict=True)]
        sizes = draft.constant(np.array(amounts, np.int32))
        return value.holding(
            draft.move(Op.MIRROR_PAD, [value.tensor, sizes], shape, options("MirrorPadOptions", mode=0))
        )
    if not any(before or after for before, after in amounts):
        return value
    return value.holding(pad(draft, value.tensor, amounts, fill))


@lower(aten.expand.default, aten.expand_as.default, int8="moves")
def expand(call: Call, draft: Draft) -> Value:
    """BROADCAST_TO."""
    value = draft.value(call.source)
    rank = len(call.result)
    if rank > len(value.order):
        value = reshaped(draft, value, (*[1] * (rank - len(value.order)), *value.shape))
    shape = [call.result[axis] for axis in value.order]
    made = draft.move(
        Op.BROADCAST_TO, [value.tensor, draft.int32(*shape)], shape, options("BroadcastToOptions")
    )
    return value.holding(made)


@lower(operator.getitem, int8="moves")
def part_of_list(call: Call, draft: Draft) -> Value:
    number: int = call.arguments["index"]
    return draft.lists[call.source][number]


@lower(QUANTIZE, DEQUANTIZE, int8="moves")
def pair(call: Call, draft: Draft) -> Value:
    """A quantize that no operator took up; dequantize is the int8 value itself, for who reads it to convert."""
    value = draft.value(call.source)
    return value if call.target is DEQUANTIZE else requantized(draft, value, quantization_of(call.node))


def _only_linear_reads(node: Node) -> bool:
    """Whether the features go to linear layers alone, through nothing that looks at their order."""
    return bool(node.users) and all(
        user.target is aten.linear.default or (user.target in FEATURES_PASS and _only_linear_reads(user))
        for user in node.users
    )
