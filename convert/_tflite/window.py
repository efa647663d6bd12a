"""Sliding windows along one axis, and when the padding around them is what TFLite calls SAME."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edgepress.convert._tflite.draft import Draft, options
from edgepress.convert._tflite.layout import raw_reshape
from edgepress.convert._tflite.model import Op, Tensor

SAME, VALID = schema.Padding.SAME, schema.Padding.VALID
NONE = schema.ActivationFunctionType.NONE
CLAMPED_AT_ZERO = (schema.ActivationFunctionType.RELU, schema.ActivationFunctionType.RELU6)


@dataclass(frozen=True)
class Window:
    """A window of `size` entries, `dilation` apart, over `length` entries padded by `before`; `count` positions."""

    length: int
    size: int
    stride: int
    dilation: int
    before: int
    count: int

    @property
    def after(self) -> int:
        """How much padding the last position reads behind the end."""
        return max((self.count - 1) * self.stride + self.reach - self.length - self.before, 0)

    @property
    def reach(self) -> int:
        return (self.size - 1) * self.dilation + 1

    def is_same(self) -> bool:
        """Whether TFLite's SAME pads exactly so."""
        total = max((self.count - 1) * self.stride + self.reach - self.length, 0)
        return self.count == -(-self.length // self.stride) and self.before == total // 2

    def is_valid(self) -> bool:
        return self.before == 0 and self.after == 0

    def starts(self) -> np.ndarray:
        """The first entry of each position; negative within the padding."""
        return np.arange(self.count) * self.stride - self.before


Windows = tuple[Window, Window]
"""Over the rows and over the columns of an image."""


def padded(draft: Draft, tensor: Tensor, windows: Windows, *, lowest: bool = False) -> tuple[Tensor, int]:
    """The NHWC tensor to slide over and the padding to name: a PAD is written only where neither SAME nor VALID is it.

    The padding counts as zero, and a zero PAD written just before is joined with it; or, with `lowest`,
    as a number that no maximum takes.
    """
    if not lowest:
        tensor, windows = _without_pad(draft, tensor, windows)
    if all(window.is_valid() for window in windows):
        return tensor, VALID
    if all(window.is_same() for window in windows):
        return tensor, SAME
    if not lowest:
        return pad(draft, tensor, _amounts(windows), 0.0), VALID
    if _is_never_negative(draft, tensor):
        return _pad_rows(draft, tensor, windows), VALID
    return pad(draft, tensor, _amounts(windows), lowest_number(tensor)), VALID


def pad_all(draft: Draft, tensor: Tensor, windows: Windows) -> Tensor:
    """The NHWC tensor with the padding that the windows read, as zeros."""
    return tensor if all(window.is_valid() for window in windows) else _pad_rows(draft, tensor, windows)


def pad(draft: Draft, tensor: Tensor, amounts: list[tuple[int, int]], fill: float) -> Tensor:
    """The tensor with `amounts` (before, after) of `fill` around each axis."""
    shape = [size + before + after for size, (before, after) in zip(tensor.shape, amounts, strict=True)]
    sizes = draft.constant(np.array(amounts, np.int32))
    if fill == 0.0:
        return draft.move(Op.PAD, [tensor, sizes], shape, options("PadOptions"))
    code = tensor.quantization
    entry = np.array(fill, tensor.dtype) if code is None else np.array(code.integer(fill), code.dtype)
    return draft.move(
        Op.PADV2, [tensor, sizes, draft.constant(entry, quantization=code)], shape, options("PadV2Options")
    )


def lowest_number(tensor: Tensor) -> float:
    """A real number that is never greater than an entry of the tensor."""
    code = tensor.quantization
    return float(np.finfo(np.float32).min) if code is None else code.lowest()


def _pad_rows(draft: Draft, tensor: Tensor, windows: Windows) -> Tensor:
    """A zero PAD for a pooling, into which no kernel takes it up as it does into a convolution: of rows as a whole.

    XNNPACK copies along the last axis: with the channels there, that is once for every pixel, which took longer
    than the pooling itself.
    """
    batch, height, width, channels = tensor.shape
    rows, columns = windows
    flat = raw_reshape(draft, tensor, (batch, 1, height, width * channels))
    around = [
        (0, 0),
        (0, 0),
        (rows.before, rows.after),
        (columns.before * channels, columns.after * channels),
    ]
    framed = pad(draft, flat, around, 0.0)
    height, width = (window.before + window.length + window.after for window in windows)
    return raw_reshape(draft, framed, (batch, height, width, channels))


def _is_never_negative(draft: Draft, tensor: Tensor) -> bool:
    """Whether zero is the lowest number already, by the tensor's code or by the activation that made it."""
    if tensor.quantization is not None:
        return tensor.quantization.zero_point == -128
    producer = draft.producers.get(tensor)
    if producer is None:
        return False
    if producer.code in (Op.CONCATENATION, Op.RESHAPE, Op.TRANSPOSE, Op.SLICE, Op.MAX_POOL_2D):
        sources = producer.inputs if producer.code == Op.CONCATENATION else producer.inputs[:1]
        return all(_is_never_negative(draft, source) for source in sources)
    fused = getattr(producer.options, "fusedActivationFunction", NONE)
    return fused in CLAMPED_AT_ZERO or producer.code in (Op.RELU, Op.RELU6)


def _amounts(windows: Windows) -> list[tuple[int, int]]:
    return [(0, 0), *((window.before, window.after) for window in windows), (0, 0)]


def _without_pad(draft: Draft, tensor: Tensor, windows: Windows) -> tuple[Tensor, Windows]:
    """Take back a zero PAD of height and width, and let the windows start as much earlier."""
    producer = draft.producers.get(tensor)
    if producer is None or producer.code != Op.PAD:
        return tensor, windows
    source, sizes = producer.inputs
    assert sizes.data is not None
    before = sizes.data[:, 0]
    if sizes.data[[0, 3]].any() or len(before) != 4:
        return tensor, windows
    rows, columns = (
        dataclasses.replace(window, length=source.shape[axis], before=window.before + int(before[axis]))
        for axis, window in zip((1, 2), windows, strict=True)
    )
    return source, (rows, columns)
