"""Int8 convolutions of few channels, such as a picture's three: neighbouring pixels are read as one with more channels.

Integer kernels multiply 8 channels at a time, so with three of them more than half of the work goes to zeros. Where a
convolution steps two pixels, each pair can be one pixel of six channels (a view of the same bytes): a window of three
pixels is then one of two pairs, with a zero weight for the pixel that it does not cover. The sums are the same integers.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from edgepress.convert._tflite.draft import Draft
from edgepress.convert._tflite.layout import raw_reshape
from edgepress.convert._tflite.model import Tensor
from edgepress.convert._tflite.quantize import Weight
from edgepress.convert._tflite.window import Window

CHANNELS_AT_ONCE = 8
"""Of the kernels for x86 and for ARM with matrix instructions; those with dot products alone take 4, and lose little."""


def in_wide_pixels(
    draft: Draft, data: Tensor, weight: Weight, columns: Window
) -> tuple[Tensor, Weight, Window]:
    """The NHWC image, its dense OIHW weight and the window over its columns with `stride` pixels as one, if that pays."""
    channels, step = data.shape[3], columns.stride
    first, last = (place // step for place in (-columns.before, columns.size - 1 - columns.before))
    wide = Window(columns.length // step, last - first + 1, 1, 1, -first, columns.count)
    if not draft.int8 or step == 1 or columns.dilation != 1 or columns.length % step:
        return data, weight, columns
    if wide.size * _padded(step * channels) >= columns.size * _padded(channels):
        return data, weight, columns
    batch, height, _, _ = data.shape
    pixels = raw_reshape(draft, data, (batch, height, wide.length, step * channels))
    outputs, _, rows, _ = weight.values.shape
    values = np.zeros((outputs, step, channels, rows, wide.size), weight.values.dtype)
    for place in range(columns.size):
        pixel, inside = divmod(place - columns.before, step)
        values[:, inside, :, :, pixel - first] = weight.values[:, :, :, place]
    values = values.reshape(outputs, step * channels, rows, wide.size)
    return pixels, dataclasses.replace(weight, values=values), wide


def _padded(channels: int) -> int:
    return -(-channels // CHANNELS_AT_ONCE) * CHANNELS_AT_ONCE
