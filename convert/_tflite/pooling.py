"""Pooling and resizing of images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgepress.convert._tflite.borders import extended
from edgepress.convert._tflite.calls import Call
from edgepress.convert._tflite.draft import Draft, Value, lower, options
from edgepress.convert._tflite.layout import NHWC, reordered, reshaped
from edgepress.convert._tflite.model import Op, Tensor
from edgepress.convert._tflite.quantize import Weight, as_float, layer_constants, read
from edgepress.convert._tflite.reductions import reduced
from edgepress.convert._tflite.resample import averages, interpolation, resampled
from edgepress.convert._tflite.slices import chosen, sliced
from edgepress.convert._tflite.window import SAME, VALID, Window, Windows, pad_all, padded
from edgepress.graph import aten, pair

NEAREST = (aten.upsample_nearest2d.vec, aten.upsample_nearest2d.default)
BILINEAR = (aten.upsample_bilinear2d.vec, aten.upsample_bilinear2d.default)


@lower(aten.max_pool2d.default, int8="moves")
def max_pool2d(call: Call, draft: Draft) -> Value:
    return _maxima(call, draft)


@lower(aten.max_pool2d_with_indices.default, int8="moves")
def max_pool2d_with_indices(call: Call, draft: Draft) -> list[Value]:
    """The maxima alone."""
    _refuse_places(call, draft)
    return [_maxima(call, draft)]


@lower(aten.avg_pool2d.default, int8="computes")
def avg_pool2d(call: Call, draft: Draft) -> Value:
    """AVERAGE_POOL_2D; where PyTorch divides by another count than it, a MUL makes up for it. It rounds to the steps that it
    reads: into others, a sum of the window stands for it, or it computes in float where what is divided by varies."""
    value = reordered(draft, read(draft, call.source), NHWC)
    windows = _windows(call, value.tensor)
    divisors = _divisors(call, windows)
    if _has_other_steps(call, draft, value.tensor):
        if (divisors == divisors[0, 0]).all():
            tensor = pad_all(draft, value.tensor, windows)
            return Value(_summed(call, draft, tensor, windows, divisors[0, 0]), NHWC)
        value = as_float(draft, value)
    counted = np.multiply.outer(*(_within(window, 0, window.length) for window in windows))
    if all(window.is_same() for window in windows) and (divisors == counted).all():
        return Value(_pool(draft, Op.AVERAGE_POOL_2D, value.tensor, windows, SAME), NHWC)
    area = windows[0].size * windows[1].size
    is_scaled = bool((divisors != area).any())
    if is_scaled:  # in int8 the factor would multiply the rounding as well
        value = as_float(draft, value)
    pooled = _pool(draft, Op.AVERAGE_POOL_2D, pad_all(draft, value.tensor, windows), windows, VALID)
    if is_scaled:
        factor = draft.constant((area / divisors).astype(np.float32)[None, :, :, None])
        pooled = draft.move(Op.MUL, [pooled, factor], pooled.shape, options("MulOptions"))
    return Value(pooled, NHWC)


@lower(aten.adaptive_avg_pool2d.default, int8="computes")
def adaptive_avg_pool2d(call: Call, draft: Draft) -> Value:
    """MEAN to 1x1, AVERAGE_POOL_2D (in int8 a sum of each cell, where the steps are others) to what divides the image evenly,
    else a stored matrix for each axis."""
    value = reordered(draft, read(draft, call.source), NHWC)
    _, height, width, _ = value.tensor.shape
    rows, columns = call.result[2:]
    if (rows, columns) == (1, 1):
        return reduced(draft, Op.MEAN, value, (2, 3), True)
    if height % rows or width % columns:
        draft.int8 = False
        return resampled(draft, as_float(draft, value), averages(height, rows), averages(width, columns))
    cells = _cells(value, call.result[2:])
    if _has_other_steps(call, draft, value.tensor):
        return Value(_summed(call, draft, value.tensor, cells, cells[0].size * cells[1].size), NHWC)
    return Value(_pool(draft, Op.AVERAGE_POOL_2D, value.tensor, cells, VALID), NHWC)


@lower(aten.adaptive_max_pool2d.default, int8="moves")
def adaptive_max_pool2d(call: Call, draft: Draft) -> list[Value]:
    """MAX_POOL_2D to what divides the image evenly; the places of the maxima are not there."""
    value = reordered(draft, draft.value(call.source), NHWC)
    if any(old % new for old, new in zip(value.shape[2:], call.result[2:], strict=True)):
        raise draft.unsupported(
            f"{value.shape[2]}x{value.shape[3]} has no even cells of maxima for {call.result[2]}x{call.result[3]}.",
            "choose an output size that divides it",
        )
    _refuse_places(call, draft)
    pooled = _pool(draft, Op.MAX_POOL_2D, value.tensor, _cells(value, call.result[2:]), VALID)
    return [Value(pooled, NHWC)]


@lower(aten.max_pool1d.default, aten.avg_pool1d.default, aten.adaptive_avg_pool1d.default)
def pool_line(call: Call, draft: Draft) -> Value:
    """The same on an image of one row."""
    value = read(draft, call.source)
    samples, channels, length = value.shape
    image = reordered(draft, reshaped(draft, value, (samples, channels, 1, length)), NHWC)
    count = call.result[-1]
    if call.target is aten.adaptive_avg_pool1d.default:
        made = resampled(draft, image, np.eye(1, dtype=np.float32), averages(length, count))
        return reshaped(draft, made, call.result)
    if call.arguments.get("dilation", 1) not in (1, [1]):
        raise draft.unsupported("TFLite's MAX_POOL_2D has no dilation.", "use dilation=1")
    size, before = (pair(call.arguments[name])[0] for name in ("kernel_size", "padding"))
    stride = pair(call.arguments["stride"] or size)[0]
    columns = Window(length, size, stride, 1, before, count)
    row = Window(length=1, size=1, stride=1, dilation=1, before=0, count=1)
    if call.target is aten.max_pool1d.default:
        tensor, padding = padded(draft, image.tensor, (row, columns), lowest=True)
        made = image.holding(_pool(draft, Op.MAX_POOL_2D, tensor, (row, columns), padding))
    elif before or columns.after:
        raise draft.unsupported("This average along a line is padded.", "pad with F.pad, then average")
    else:
        made = image.holding(_pool(draft, Op.AVERAGE_POOL_2D, image.tensor, (row, columns), VALID))
    return reshaped(draft, made, call.result)


@lower(*NEAREST, int8="moves")
def upsample_nearest(call: Call, draft: Draft) -> Value:
    """RESIZE_NEAREST_NEIGHBOR, which goes by the sizes; where the network goes by its factors, the entries are chosen."""
    value = reordered(draft, draft.value(call.source), NHWC)
    factors = _factors(call)
    if _go_by_sizes(call, value, factors):
        return _resized(
            call, draft, value, Op.RESIZE_NEAREST_NEIGHBOR, options("ResizeNearestNeighborOptions")
        )
    for axis, factor in zip((2, 3), factors, strict=True):
        numbers = np.floor(np.arange(call.result[axis], dtype=np.float32) * np.float32(1 / factor))
        index = np.minimum(numbers.astype(np.int64), value.shape[axis] - 1)
        value = chosen(draft, value, value.axis(axis), index)
    return value


@lower(*BILINEAR, int8="computes")
def upsample_bilinear(call: Call, draft: Draft) -> Value:
    """RESIZE_BILINEAR, which goes by the sizes; where the network goes by its factors, a stored matrix for each axis."""
    value = reordered(draft, read(draft, call.source), NHWC)
    corners = call.arguments["align_corners"]
    factors = _factors(call)
    if not corners and not _go_by_sizes(call, value, factors):
        draft.int8 = False
        matrices = [
            interpolation(*sizes) for sizes in zip(value.shape[2:], call.result[2:], factors, strict=True)
        ]
        return resampled(draft, as_float(draft, value), matrices[0], matrices[1])
    made = options("ResizeBilinearOptions", alignCorners=corners, halfPixelCenters=not corners)
    return _resized(call, draft, value, Op.RESIZE_BILINEAR, made)


def _maxima(call: Call, draft: Draft) -> Value:
    """MAX_POOL_2D."""
    value = reordered(draft, draft.value(call.source), NHWC)
    if pair(call.arguments["dilation"]) != (1, 1):
        raise draft.unsupported("TFLite's MAX_POOL_2D has no dilation.", "use dilation=1")
    windows = _windows(call, value.tensor)
    if not _are_padded_by_name(windows) and (larger := extended(draft, call, value.tensor, windows)):
        pooled = _pool(draft, Op.MAX_POOL_2D, *larger, SAME)
        asked = (pooled.shape[0], windows[0].count, windows[1].count, pooled.shape[3])
        return Value(sliced(draft, pooled, (0, 0, 0, 0), asked), NHWC)
    tensor, padding = padded(draft, value.tensor, windows, lowest=True)
    return Value(_pool(draft, Op.MAX_POOL_2D, tensor, windows, padding), NHWC)


def _are_padded_by_name(windows: Windows) -> bool:
    """Whether VALID or SAME is their padding."""
    return all(window.is_valid() for window in windows) or all(window.is_same() for window in windows)


def _factors(call: Call) -> tuple[float, ...]:
    """The scale factors of rows and columns that the network gives; empty where it gives sizes."""
    given = call.arguments.get("scale_factors") or [call.arguments.get(f"scales_{side}") for side in "hw"]
    return () if None in given else tuple(given)


def _go_by_sizes(call: Call, value: Value, factors: tuple[float, ...]) -> bool:
    """Whether new size over old is the factor itself: PyTorch steps through the image by the factor it is given."""
    ratios = (new / old for new, old in zip(call.result[2:], value.shape[2:], strict=True))
    return not factors or bool(np.allclose(list(ratios), factors, rtol=1e-6, atol=0))


def _resized(call: Call, draft: Draft, value: Value, code: int, made: Any) -> Value:
    size = call.result[2:]
    shape = (value.tensor.shape[0], *size, value.tensor.shape[3])
    return Value(draft.move(code, [value.tensor, draft.int32(*size)], shape, made), NHWC)


def _pool(draft: Draft, code: int, tensor: Tensor, windows: Windows, padding: int) -> Tensor:
    rows, columns = windows
    made = options(
        "Pool2DOptions", padding=padding, strideH=rows.stride, strideW=columns.stride,
        filterHeight=rows.size, filterWidth=columns.size,
    )  # fmt: skip
    return draft.move(code, [tensor], (tensor.shape[0], rows.count, columns.count, tensor.shape[3]), made)


def _has_other_steps(call: Call, draft: Draft, tensor: Tensor) -> bool:
    """Whether an int8 call gives its result in another code than that of what it reads."""
    return draft.int8 and call.quantization != tensor.quantization


def _summed(call: Call, draft: Draft, tensor: Tensor, windows: Windows, divisor: int) -> Tensor:
    """Each window's sum over `divisor`, rounded once: a DEPTHWISE_CONV_2D with weights of 1, whose scale divides."""
    rows, columns = windows
    channels = tensor.shape[3]
    ones = np.ones((1, rows.size, columns.size, channels), np.int8)
    weight = Weight(f"{call.layer}/weight", ones, np.full(channels, 1 / divisor), axis=3)
    made = options(
        "DepthwiseConv2DOptions",
        padding=VALID,
        strideH=rows.stride,
        strideW=columns.stride,
        depthMultiplier=1,
    )
    inputs = [tensor, *layer_constants(draft, weight, None, tensor)]
    shape = (tensor.shape[0], rows.count, columns.count, channels)
    return draft.compute(Op.DEPTHWISE_CONV_2D, inputs, shape, made)


def _cells(value: Value, counts: Sequence[int]) -> Windows:
    """Windows side by side over an image that `counts` divide."""
    rows, columns = (
        Window(length, length // count, length // count, 1, 0, count)
        for length, count in zip(value.shape[2:], counts, strict=True)
    )
    return rows, columns


def _refuse_places(call: Call, draft: Draft) -> None:
    if any(user.args[1] != 0 for user in call.node.users):
        raise draft.unsupported(
            "TFLite's pooling does not tell where its maxima are.", "upsample without return_indices"
        )


def _windows(call: Call, tensor: Tensor) -> Windows:
    """Of a pooling; where no stride is given it is the window's size."""
    sizes = pair(call.arguments["kernel_size"])
    strides = pair(call.arguments["stride"] or call.arguments["kernel_size"])
    before = pair(call.arguments["padding"])
    rows, columns = (
        Window(tensor.shape[1 + axis], sizes[axis], strides[axis], 1, before[axis], call.result[2 + axis])
        for axis in (0, 1)
    )
    return rows, columns


def _divisors(call: Call, windows: Windows) -> np.ndarray:
    """What PyTorch divides each position's sum by (rows x columns)."""
    if call.arguments["divisor_override"]:
        return np.full([window.count for window in windows], call.arguments["divisor_override"])
    padding = call.arguments["count_include_pad"]
    counts = (
        _within(window, -window.before if padding else 0, window.length + (window.before if padding else 0))
        for window in windows
    )
    divisors: np.ndarray = np.multiply.outer(*counts)
    return divisors


def _within(window: Window, first: int, end: int) -> np.ndarray:
    """How many entries of each position lie in [first, end)."""
    starts = window.starts()
    counts: np.ndarray = np.minimum(starts + window.size, end) - np.maximum(starts, first)
    return counts
