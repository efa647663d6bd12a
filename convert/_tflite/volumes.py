"""Operators on volumes and on lines, spelt out in those on images: so no tensor needs more than four axes to compute."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from edgepress.convert._tflite.spelling import spells
from edgepress.graph import aten


def _three(value: int | Sequence[int]) -> tuple[int, int, int]:
    numbers = [value] * 3 if isinstance(value, int) else list(value) * (3 // len(value))
    return numbers[0], numbers[1], numbers[2]


def _sheets(x: Tensor) -> Tensor:
    """N x C x D x H x W to (N * D) x C x H x W."""
    return x.transpose(1, 2).flatten(0, 1)


def _volume(sheets: Tensor, samples: int) -> Tensor:
    """Back again."""
    return sheets.reshape(samples, -1, *sheets.shape[1:]).transpose(1, 2)


def _deep(x: Tensor, before: int, after: int) -> Tensor:
    """Zeros in front of and behind a volume's depth, and cuts where they are negative."""
    return functional.pad(x, [0, 0, 0, 0, before, after]) if before or after else x


@spells(aten.conv3d.default)
def conv3d(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: Any, padding: Any, dilation: Any, groups: int
) -> Tensor:
    """The sum of one convolution of images for each depth of the kernel."""
    (step, *steps), (edge, *edges), (apart, *aparts) = _three(stride), _three(padding), _three(dilation)
    x = _deep(x, edge, edge)
    count = (x.shape[2] - apart * (weight.shape[2] - 1) - 1) // step + 1
    total = None
    for place in range(weight.shape[2]):
        start = place * apart
        sheets = _sheets(x[:, :, start : start + (count - 1) * step + 1 : step])
        own = bias if place == 0 else None
        made = functional.conv2d(sheets, weight[:, :, place], own, steps, edges, aparts, groups)
        total = made if total is None else total + made
    assert total is not None
    return _volume(total, x.shape[0])


@spells(aten.conv_transpose3d.input)
def conv_transpose3d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Any,
    padding: Any,
    extra: Any,
    groups: int,
    dilation: Any,
) -> Tensor:
    """The sum of one transposed convolution of images for each depth of the kernel, moved to its depth."""
    (step, *steps), (cut, *cuts), (apart, *aparts) = _three(stride), _three(padding), _three(dilation)
    more, *mores = _three(extra)
    depth = (x.shape[2] - 1) * step + 1
    full = depth + apart * (weight.shape[2] - 1) + more
    total = None
    for place in range(weight.shape[2]):
        own = bias if place == 0 else None
        sheets = functional.conv_transpose2d(
            _sheets(x), weight[:, :, place], None, steps, cuts, mores, groups, aparts
        )
        made = _volume(sheets, x.shape[0])
        if step > 1:
            made = functional.pad(made.unsqueeze(3), [0, 0, 0, 0, 0, step - 1]).flatten(2, 3)
        made = _deep(made, place * apart, full - place * apart - made.shape[2])
        made = made if own is None else made + own[:, None, None, None]
        total = made if total is None else total + made
    assert total is not None
    return _deep(total, -cut, -cut)


@spells(aten.avg_pool3d.default)
def avg_pool3d(
    x: Tensor, size: Any, stride: Any, padding: Any, ceil: bool, counts: bool, divisor: int | None
) -> Tensor:
    """Over the image, then over the depth: an average of averages, as long as all of them have as many entries."""
    (deep, *sizes), (step, *steps), (edge, *edges) = _three(size), _three(stride or size), _three(padding)
    batch, channels = x.shape[:2]
    counts = counts or divisor is not None
    flat = functional.avg_pool2d(_sheets(x), sizes, steps, edges, ceil, counts)
    volume = _volume(flat, batch)
    columns = volume.reshape(batch, channels, volume.shape[2], -1)
    made = functional.avg_pool2d(columns, (deep, 1), (step, 1), (edge, 0), ceil, counts)
    made = made.reshape(*made.shape[:3], *volume.shape[3:])
    return made if divisor is None else made * (deep * sizes[0] * sizes[1] / divisor)


@spells(aten.max_pool3d.default)
def max_pool3d(x: Tensor, size: Any, stride: Any, padding: Any, dilation: Any, ceil: bool) -> Tensor:
    (deep, *sizes), (step, *steps), (edge, *edges) = _three(size), _three(stride or size), _three(padding)
    apart, *aparts = _three(dilation)
    batch, channels = x.shape[:2]
    volume = _volume(functional.max_pool2d(_sheets(x), sizes, steps, edges, aparts, ceil), batch)
    columns = volume.reshape(batch, channels, volume.shape[2], -1)
    made = functional.max_pool2d(columns, (deep, 1), (step, 1), (edge, 0), (apart, 1), ceil)
    return made.reshape(*made.shape[:3], *volume.shape[3:])


@spells(aten.max_pool2d.default, fits=lambda given: set(given["dilation"]) != {1})
def dilated_max_pool2d(x: Tensor, size: Any, stride: Any, padding: Any, dilation: Any, ceil: bool) -> Tensor:
    """The largest of as many cuts as the window has entries."""
    sizes, steps, edges, aparts = (
        [value[0], value[-1]] for value in (size, stride or size, padding, dilation)
    )
    windows = list(zip(x.shape[2:], sizes, steps, edges, aparts, strict=True))
    counts = [_positions(*window, ceil=ceil) for window in windows]
    reach = [
        (count - 1) * step + apart * (width - 1) + 1
        for count, (_, width, step, _, apart) in zip(counts, windows, strict=True)
    ]
    rest = [max(far - edge - length, 0) for far, edge, length in zip(reach, edges, x.shape[2:], strict=True)]
    if any(edges) or any(rest):
        x = functional.pad(x, [edges[1], rest[1], edges[0], rest[0]], value=torch.finfo(x.dtype).min)
    largest = None
    for row in range(sizes[0]):
        for column in range(sizes[1]):
            first = row * aparts[0], column * aparts[1]
            end = [at + (count - 1) * step + 1 for at, count, step in zip(first, counts, steps, strict=True)]
            cut = x[:, :, first[0] : end[0] : steps[0], first[1] : end[1] : steps[1]]
            largest = cut if largest is None else torch.maximum(largest, cut)
    assert largest is not None
    return largest


def _positions(length: int, width: int, step: int, edge: int, apart: int, *, ceil: bool) -> int:
    """How many places a window takes; none of them begins behind the end."""
    room = length + 2 * edge - apart * (width - 1) - 1
    count = (room + (step - 1 if ceil else 0)) // step + 1
    return count - 1 if ceil and (count - 1) * step >= length + edge else count


@spells(aten.avg_pool1d.default, fits=lambda given: any(given["padding"]) or given["ceil_mode"])
def avg_pool1d(x: Tensor, size: Any, stride: Any, padding: Any, ceil: bool, counts: bool) -> Tensor:
    row = functional.avg_pool2d(
        x.unsqueeze(2), (1, size[0]), (1, (stride or size)[0]), (0, padding[0]), ceil, counts
    )
    return row.squeeze(2)


@spells(aten.max_pool1d.default, fits=lambda given: set(given["dilation"]) != {1})
def max_pool1d(x: Tensor, size: Any, stride: Any, padding: Any, dilation: Any, ceil: bool) -> Tensor:
    row = functional.max_pool2d(
        x.unsqueeze(2), (1, size[0]), (1, (stride or size)[0]), (0, padding[0]), (1, dilation[0]), ceil
    )
    return row.squeeze(2)


@spells(aten.adaptive_avg_pool3d.default)
def adaptive_avg_pool3d(x: Tensor, size: Sequence[int]) -> Tensor:
    batch, channels = x.shape[:2]
    volume = _volume(functional.adaptive_avg_pool2d(_sheets(x), (size[1], size[2])), batch)
    columns = volume.reshape(batch, channels, volume.shape[2], -1)
    made = functional.adaptive_avg_pool2d(columns, (size[0], columns.shape[3]))
    return made.reshape(*made.shape[:3], *volume.shape[3:])


@spells(aten.upsample_linear1d.vec)
def upsample_linear1d(x: Tensor, size: Any, corners: bool, factors: Any) -> Tensor:
    row = aten.upsample_bilinear2d.vec(x.unsqueeze(2), _and_one(size), corners, _and_one(factors))
    return row.squeeze(2)  # type: ignore[no-any-return]  # PyTorch's operators are untyped


@spells(aten.upsample_nearest1d.vec)
def upsample_nearest1d(x: Tensor, size: Any, factors: Any) -> Tensor:
    row = aten.upsample_nearest2d.vec(x.unsqueeze(2), _and_one(size), _and_one(factors))
    return row.squeeze(2)  # type: ignore[no-any-return]  # PyTorch's operators are untyped


@spells(aten.upsample_bicubic2d.vec)
def upsample_bicubic2d(x: Tensor, size: Any, corners: bool, factors: Any) -> Tensor:
    """As products with stored matrices: what PyTorch makes of single pixels, along the rows and along the columns."""
    for axis in (2, 3):
        pixels = torch.eye(x.shape[axis])[None, :, None]
        wanted = None if size is None else [1, size[axis - 2]]
        factor = None if factors is None else [1.0, factors[axis - 2]]
        matrix = aten.upsample_bicubic2d.vec(pixels, wanted, corners, factor)[0, :, 0].t()
        x = functional.linear(x.transpose(axis, 3), matrix).transpose(axis, 3)
    return x


def _and_one(sizes: Any) -> Any:
    """Of a line, those of an image of one row."""
    return None if sizes is None else [1, *sizes]
