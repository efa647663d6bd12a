"""Operators that take a window: maxima and averages."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch.nn import functional

from edgepress.convert._onnx_reading.call import Call, Outcome, operation
from edgepress.convert._onnx_reading.layers import padded, window_padding

MAXIMUM = {1: functional.max_pool1d, 2: functional.max_pool2d, 3: functional.max_pool3d}
AVERAGE: dict[int, Callable[..., torch.Tensor]] = {
    1: functional.avg_pool1d,
    2: functional.avg_pool2d,
    3: functional.avg_pool3d,
}


@operation("MaxPool")
def max_pool(call: Call) -> Outcome:
    if len(call.operation.outputs) > 1:
        raise call.unsupported("gives the places of its maxima")
    kernel = call.attribute("kernel_shape")
    rank = len(kernel)
    value, strides = call.tensor(0), call.attribute("strides", [1] * rank)
    dilations = call.attribute("dilations", [1] * rank)
    before, after = window_padding(call, value.shape[2:], kernel, strides, dilations)
    if before != after or any(2 * pad > width for pad, width in zip(before, kernel, strict=True)):
        after = _with_last_window(call, value.shape[2:], before, after, dilations)
        return MAXIMUM[rank](padded(value, before, after, float("-inf")), kernel, strides, 0, dilations)
    return MAXIMUM[rank](value, kernel, strides, before, dilations, bool(call.attribute("ceil_mode", 0)))


def _with_last_window(
    call: Call, sizes: Sequence[int], before: Sequence[int], after: Sequence[int], dilations: Sequence[int]
) -> list[int]:
    """The padding behind, with as much more as the last window overhangs where windows are counted up. One that would
    begin behind the picture is none; PyTorch knows this of the padding that it does itself."""
    if not call.attribute("ceil_mode", 0):
        return list(after)
    kernel = call.attribute("kernel_shape")
    found = []
    for axis, (size, stride) in enumerate(
        zip(sizes, call.attribute("strides", [1] * len(kernel)), strict=True)
    ):
        width = (kernel[axis] - 1) * dilations[axis] + 1
        steps = -(-(size + before[axis] + after[axis] - width) // stride)
        steps -= steps * stride >= size + before[axis]
        found.append(max(steps * stride + width - size - before[axis], after[axis]))
    return found


@operation("AveragePool")
def average_pool(call: Call) -> Outcome:
    kernel = call.attribute("kernel_shape")
    rank = len(kernel)
    value, strides = call.tensor(0), call.attribute("strides", [1] * rank)
    if any(dilation != 1 for dilation in call.attribute("dilations", [1])):
        raise call.unsupported("has a dilated window")
    before, after = window_padding(call, value.shape[2:], kernel, strides, [1] * rank)
    counts_padding, rounds_up = (
        bool(call.attribute("count_include_pad", 0)),
        bool(call.attribute("ceil_mode", 0)),
    )
    pool = AVERAGE[rank]
    if before == after and all(2 * pad <= width for pad, width in zip(before, kernel, strict=True)):
        return pool(value, kernel, strides, before, rounds_up, counts_padding)
    reached = _with_last_window(call, value.shape[2:], before, after, [1] * rank)
    total = pool(padded(value, before, reached), kernel, strides)
    # The share of each window that lies on the picture, or on its padding.
    counted = padded(torch.ones_like(value[:1, :1]), before, after, float(counts_padding))
    over = [more - given for more, given in zip(reached, after, strict=True)]
    if counts_padding and not any(over):
        return total
    return total / pool(padded(counted, [0] * rank, over), kernel, strides)


@operation("GlobalAveragePool")
def global_average_pool(call: Call) -> Outcome:
    value = call.tensor(0)
    if value.ndim == 4:
        return functional.adaptive_avg_pool2d(value, 1)
    return value.mean(list(range(2, value.ndim)), keepdim=True)


@operation("GlobalMaxPool")
def global_max_pool(call: Call) -> Outcome:
    value = call.tensor(0)
    return value.amax(list(range(2, value.ndim)), keepdim=True)
