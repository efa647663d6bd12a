"""Max-pooling behind a convolution without a padded copy of its input.

TFLite pads by SAME, which for an even image and a window of three over two is not what PyTorch pads. With one more
row and column it is: the convolution computes these as well (its own padding costs nothing), the pooling makes an
entry of them that nobody asked for, and a SLICE of the small result drops it.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from edgepress.convert._tflite.calls import Call
from edgepress.convert._tflite.draft import Draft
from edgepress.convert._tflite.model import Op, Operation, Tensor
from edgepress.convert._tflite.window import VALID, Window, Windows, pad

MOST_PRODUCTS = 4.0
"""As many more of them for each number of the image take less time than its padded copy, and leave something for the
SLICE: kernels compute about ten in the time in which one number is copied."""


def extended(draft: Draft, call: Call, image: Tensor, windows: Windows) -> tuple[Tensor, Windows] | None:
    """The image with the rows and columns more that let SAME pad as `windows` do, and the windows over it, of which
    those that were there are the first; None where that is not possible or does not pay."""
    rows, columns = (_extended(window) for window in windows)
    layer = draft.producers.get(image)
    if rows is None or columns is None or layer is None or not _can_grow(layer):
        return None
    _, height, width, depth = image.shape
    growth = rows.length * columns.length / (height * width) - 1
    if growth * math.prod(layer.inputs[1].shape[1:]) > MOST_PRODUCTS or not _is_read_once(draft, call, image):
        return None
    return _grown(draft, layer, (image.shape[0], rows.length, columns.length, depth)), (rows, columns)


def _extended(window: Window) -> Window | None:
    """The window over the fewest entries more with which SAME pads so and its first positions see the same ones."""
    for more in range(window.stride if window.after == 0 else 1):
        length = window.length + more
        longer = dataclasses.replace(window, length=length, count=-(-length // window.stride))
        if longer.is_same():
            return longer
    return None


def _can_grow(layer: Operation) -> bool:
    return layer.code == Op.CONV_2D and bool(layer.options.padding == VALID)


def _is_read_once(draft: Draft, call: Call, image: Tensor) -> bool:
    """Whether nothing but the call reads what the layer gives: else it would be computed twice."""
    holders = {node for node, value in draft.values.items() if value.tensor is image}
    return all(user in holders or user in call.covers for node in holders for user in node.users)


def _grown(draft: Draft, layer: Operation, shape: tuple[int, ...]) -> Tensor:
    """What the convolution gives in this shape, over an image with so much more zero padding behind it; the smaller
    one is left to nobody."""
    data, kernel, *constants = layer.inputs
    made = layer.options
    amounts = np.zeros((4, 2), np.int32)
    before = draft.producers.get(data)
    if before is not None and before.code == Op.PAD and before.inputs[1].data is not None:
        data, amounts = before.inputs[0], before.inputs[1].data.copy()
    for axis, step, dilation in (
        (1, made.strideH, made.dilationHFactor),
        (2, made.strideW, made.dilationWFactor),
    ):
        needed = (shape[axis] - 1) * step + (kernel.shape[axis] - 1) * dilation + 1
        amounts[axis, 1] += max(0, needed - data.shape[axis] - amounts[axis].sum())
    framed = pad(draft, data, [(int(first), int(last)) for first, last in amounts], 0.0)
    image = layer.outputs[0]
    grown = Tensor(f"{image.name}/extended", shape, image.dtype, quantization=image.quantization)
    return draft.emit(layer.code, [framed, kernel, *constants], grown, made)
