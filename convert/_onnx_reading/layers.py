"""Operators with weights, and normalisations: convolutions, matrix products, batch-, layer-, group- and instance-norm."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch.nn import functional

from edgepress.convert._onnx_reading.call import Call, Outcome, operation

CONVOLUTIONS = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}
TRANSPOSED = {1: functional.conv_transpose1d, 2: functional.conv_transpose2d, 3: functional.conv_transpose3d}


def window_padding(
    call: Call, sizes: Sequence[int], kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> tuple[list[int], list[int]]:
    """What stands before and after each axis of `sizes`, as `pads` or `auto_pad` say."""
    kind, rank = call.attribute("auto_pad", "NOTSET"), len(kernel)
    if kind == "NOTSET":
        pads = call.attribute("pads", [0] * 2 * rank)
        return list(pads[:rank]), list(pads[rank:])
    if kind == "VALID":
        return [0] * rank, [0] * rank
    before, after = [], []
    for size, width, stride, dilation in zip(sizes, kernel, strides, dilations, strict=True):
        total = max((math.ceil(size / stride) - 1) * stride + (width - 1) * dilation + 1 - size, 0)
        small, large = total // 2, total - total // 2
        before.append(large if kind == "SAME_LOWER" else small)
        after.append(small if kind == "SAME_LOWER" else large)
    return before, after


def padded(
    value: torch.Tensor, before: Sequence[int], after: Sequence[int], filling: float = 0.0
) -> torch.Tensor:
    """The value with so much on either side of its last axes."""
    pairs = [width for pair in zip(reversed(before), reversed(after), strict=True) for width in pair]
    return functional.pad(value, pairs, value=filling) if any(pairs) else value


@operation("Conv")
def convolution(call: Call) -> Outcome:
    value, weight = call.tensor(0), call.tensor(1)
    rank = weight.ndim - 2
    strides, dilations = call.attribute("strides", [1] * rank), call.attribute("dilations", [1] * rank)
    before, after = window_padding(call, value.shape[2:], weight.shape[2:], strides, dilations)
    if before != after:
        value, before = padded(value, before, after), [0] * rank
    group = call.attribute("group", 1)
    return CONVOLUTIONS[rank](value, weight, call.optional(2), strides, before, dilations, group)


@operation("ConvTranspose")
def transposed_convolution(call: Call) -> Outcome:
    value, weight = call.tensor(0), call.tensor(1)
    rank = weight.ndim - 2
    strides, dilations = call.attribute("strides", [1] * rank), call.attribute("dilations", [1] * rank)
    extra = call.attribute("output_padding", [0] * rank)
    before, after = _cut_of_transposed(call, value.shape[2:], weight.shape[2:], strides, dilations)
    padding = before if before == after else [0] * rank
    made = TRANSPOSED[rank](
        value, weight, call.optional(2), strides, padding, extra, call.attribute("group", 1), dilations
    )
    return (
        made if before == after else padded(made, [-width for width in before], [-width for width in after])
    )


def _cut_of_transposed(
    call: Call, sizes: Sequence[int], kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> tuple[list[int], list[int]]:
    """What goes from either side of the output, so that it has the size asked for."""
    rank, kind = len(kernel), call.attribute("auto_pad", "NOTSET")
    wanted = call.attribute("output_shape")
    if wanted is None and kind in ("NOTSET", "VALID"):
        return window_padding(call, sizes, kernel, strides, dilations)
    extra = call.attribute("output_padding", [0] * rank)
    wanted = wanted or [size * stride for size, stride in zip(sizes, strides, strict=True)]
    totals = [
        stride * (size - 1) + more + (width - 1) * dilation + 1 - target
        for size, stride, more, width, dilation, target in zip(
            sizes, strides, extra, kernel, dilations, wanted[-rank:], strict=True
        )
    ]
    small, large = [total // 2 for total in totals], [total - total // 2 for total in totals]
    return (small, large) if kind == "SAME_UPPER" else (large, small)


@operation("Linear")
def linear(call: Call) -> Outcome:
    """Not ONNX's: a product with a stored matrix, whose weight stands as PyTorch keeps it (outputs x inputs)."""
    return functional.linear(call.tensor(0), call.tensor(1), call.optional(2))


@operation("MatMul")
def matrix_product(call: Call) -> Outcome:
    return torch.matmul(call.tensor(0), call.tensor(1))


@operation("Gemm")
def general_product(call: Call) -> Outcome:
    first, second = call.tensor(0), call.tensor(1)
    first = first.t() if call.attribute("transA", 0) else first
    second = second.t() if call.attribute("transB", 0) else second
    product = float(call.attribute("alpha", 1.0)) * (first @ second)
    added = call.optional(2)
    return product if added is None else product + float(call.attribute("beta", 1.0)) * added


@operation("Einsum")
def einsum(call: Call) -> Outcome:
    return torch.einsum(call.attribute("equation"), *(call.tensor(position) for position in range(len(call))))


@operation("BatchNormalization")
def batch_norm(call: Call) -> Outcome:
    if call.attribute("training_mode", 0):
        raise call.unsupported("is in training mode")
    value, scale, shift, mean, variance = (call.tensor(position) for position in range(5))
    return functional.batch_norm(
        value, mean, variance, scale, shift, False, 0.1, call.attribute("epsilon", 1e-5)
    )


@operation("InstanceNormalization")
def instance_norm(call: Call) -> Outcome:
    value, scale, shift = (call.tensor(position) for position in range(3))
    return functional.instance_norm(value, weight=scale, bias=shift, eps=call.attribute("epsilon", 1e-5))


@operation("LayerNormalization")
def layer_norm(call: Call) -> Outcome:
    value, axis = call.tensor(0), call.attribute("axis", -1)
    sizes = list(value.shape[axis % value.ndim :])
    return functional.layer_norm(
        value, sizes, call.tensor(1), call.optional(2), call.attribute("epsilon", 1e-5)
    )


@operation("GroupNormalization")
def group_norm(call: Call) -> Outcome:
    """Before opset 21, scale and shift have one value a group."""
    value, scale, shift = (call.tensor(position) for position in range(3))
    groups = call.attribute("num_groups")
    width = value.shape[1] // scale.shape[0]
    if width > 1:
        scale, shift = scale.repeat_interleave(width), shift.repeat_interleave(width)
    return functional.group_norm(value, groups, scale, shift, call.attribute("epsilon", 1e-5))


@operation("LRN")
def local_response_norm(call: Call) -> Outcome:
    return functional.local_response_norm(
        call.tensor(0),
        call.attribute("size"),
        call.attribute("alpha", 1e-4),
        call.attribute("beta", 0.75),
        call.attribute("bias", 1.0),
    )


@operation("LpNormalization")
def normalise(call: Call) -> Outcome:
    # What has no length stays zero.
    return functional.normalize(call.tensor(0), call.attribute("p", 2), call.attribute("axis", -1), eps=1e-30)
