"""Operators that select, join, repeat and reorder, and those that compute with shapes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from edgepress.convert._onnx_reading.call import Call, Outcome, array_of, operation
from edgepress.convert._onnx_reading.free_batch import front_batch, in_batches, reshaped

PAD_MODES = {"constant": "constant", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}


@operation("Shape")
def shape(call: Call) -> Outcome:
    sizes = _sizes(call)
    return array_of(sizes[call.attribute("start", 0) : call.attribute("end")])


@operation("Size")
def size(call: Call) -> Outcome:
    return array_of([math.prod(_sizes(call))])[0:1].reshape(())


def _sizes(call: Call) -> list[Any]:
    """Of an array that holds the batch, too: a tensor of it would fix the batch."""
    value = call.value(0)
    return list(call.tensor(0).shape if value is None else value.shape)


@operation("Reshape")
def reshape(call: Call) -> Outcome:
    target = call.known(1)
    value = call.value(0)
    if isinstance(value, np.ndarray):
        return np.reshape(value, target)
    value = call.tensor(0)
    if not call.attribute("allowzero", 0):
        target = [value.shape[axis] if size == 0 else size for axis, size in enumerate(target)]
    return value.reshape(reshaped(call, target, value))


@operation("Flatten")
def flatten(call: Call) -> Outcome:
    axis, value = call.attribute("axis", 1), call.tensor(0)
    axis = axis % value.ndim if axis < 0 else axis
    if axis == 1:
        return torch.flatten(value, 1)
    return value.reshape(math.prod(value.shape[:axis]), -1)


@operation("Squeeze")
def squeeze(call: Call) -> Outcome:
    value, axes = call.value(0), call.known_or_attribute(1, "axes")
    if isinstance(value, np.ndarray):
        return np.squeeze(value, None if axes is None else tuple(axes))
    value = call.tensor(0)
    if axes is None:
        axes = [axis for axis, size in enumerate(value.shape) if isinstance(size, int) and size == 1]
    return torch.squeeze(value, tuple(axes))


@operation("Unsqueeze")
def unsqueeze(call: Call) -> Outcome:
    value, axes = call.value(0), call.known_or_attribute(1, "axes")
    assert value is not None
    rank = value.ndim + len(axes)
    for axis in sorted(axis % rank for axis in axes):
        value = np.expand_dims(value, axis) if isinstance(value, np.ndarray) else value.unsqueeze(axis)
    return value


@operation("Transpose")
def transpose(call: Call) -> Outcome:
    value = call.tensor(0)
    return value.permute(call.attribute("perm", list(range(value.ndim))[::-1]))


@operation("Concat")
def concat(call: Call) -> Outcome:
    if call.all_known():
        return np.concatenate(call.values, call.attribute("axis"))  # type: ignore[arg-type]  # all of a known call is arrays
    parts, axis = [call.tensor(position) for position in range(len(call))], call.attribute("axis")
    return torch.cat(parts if axis % parts[0].ndim == 0 else in_batches(call, parts), axis)


@operation("Split")
def split(call: Call) -> Outcome:
    value, axis = call.tensor(0), call.attribute("axis", 0)
    sizes = call.known_or_attribute(1, "split")
    if sizes is None:
        parts = call.attribute("num_outputs", len(call.operation.outputs))
        step = -(-value.shape[axis] // parts)
        sizes = [min(step, value.shape[axis] - start) for start in range(0, value.shape[axis], step)]
    return list(torch.split(value, sizes, axis))


@operation("Slice")
def slice_(call: Call) -> Outcome:
    value = call.value(0)
    assert value is not None
    starts, ends = call.known(1), call.known(2)
    axes = call.known(3, list(range(len(starts))))
    steps = call.known(4, [1] * len(starts))
    if isinstance(value, np.ndarray):
        cuts: list[Any] = [slice(None)] * value.ndim
        for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
            cuts[axis] = _numpy_slice(start, end, step)
        return np.asarray(value[tuple(cuts)])
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        value = _cut(value, axis % value.ndim, (start, end, step))
    return value


@operation("Gather")
def gather(call: Call) -> Outcome:
    value, axis = call.value(0), call.attribute("axis", 0)
    if call.all_known():
        return np.asarray(np.take(value, np.asarray(call.value(1), np.int64), axis))  # type: ignore[arg-type]  # all of a known call is arrays
    indices = call.value(1)
    if isinstance(indices, np.ndarray) and indices.size == 1 and isinstance(value, torch.Tensor):
        index = int(indices.reshape(-1)[0])
        return value.select(axis, index) if indices.ndim == 0 else _narrow(value, axis, index)
    value, places = call.tensor(0), call.tensor(1).long()
    if axis == 0 and value.ndim == 2:
        return functional.embedding(places, value)
    places = torch.where(places < 0, places + value.shape[axis], places)
    axis %= value.ndim
    picked = value.index_select(axis, places.reshape(-1))
    return picked.reshape(*value.shape[:axis], *places.shape, *value.shape[axis + 1 :])


@operation("GatherElements")
def gather_elements(call: Call) -> Outcome:
    value, axis, places = call.tensor(0), call.attribute("axis", 0), call.tensor(1)
    return torch.gather(value, axis, torch.where(places < 0, places + value.shape[axis], places))


@operation("Expand")
def expand(call: Call) -> Outcome:
    value = call.tensor(0)
    target = front_batch(call, call.known(1), value)
    missing = len(target) - value.ndim
    sizes = [1] * missing + list(value.shape)
    target = [1] * -missing + list(target)
    is_one = [isinstance(wanted, int) and wanted == 1 for wanted in target]
    return value.expand(
        [size if one else wanted for size, wanted, one in zip(sizes, target, is_one, strict=True)]
    )


@operation("Tile")
def tile(call: Call) -> Outcome:
    return call.tensor(0).repeat(call.known(1))


@operation("Pad")
def pad(call: Call) -> Outcome:
    value, widths = call.tensor(0), call.known_or_attribute(1, "pads")
    rank = value.ndim
    axes = [axis % rank for axis in call.known(3, list(range(rank)))]
    pairs = {axis: (widths[place], widths[place + len(axes)]) for place, axis in enumerate(axes)}
    first = min((axis for axis, pair in pairs.items() if any(pair)), default=rank)
    flat = [width for axis in range(rank - 1, first - 1, -1) for width in pairs.get(axis, (0, 0))]
    mode = PAD_MODES[call.attribute("mode", "constant")]
    if mode != "constant":
        return functional.pad(value, flat, mode) if flat else value
    return functional.pad(value, flat, value=call.known_or_attribute(2, "value", 0.0) or 0.0)


@operation("ConstantOfShape")
def constant_of_shape(call: Call) -> Outcome:
    filling = np.asarray(call.attribute("value", np.zeros(1, np.float32))).reshape(-1)[0]
    sizes = call.known(0)
    if all(isinstance(size, int) for size in sizes):
        return np.full(sizes, filling)
    return torch.full(sizes, filling.item(), dtype=torch.from_numpy(np.asarray([filling])).dtype)


@operation("Range")
def range_(call: Call) -> Outcome:
    start, limit, step = (_lone_number(call, position) for position in range(3))
    if all(isinstance(entry, int) for entry in (start, limit, step)):
        return np.asarray(range(start, limit, step), np.int64)
    return torch.arange(start, limit, step)


@operation("DepthToSpace")
def depth_to_space(call: Call) -> Outcome:
    value, block = call.tensor(0), call.attribute("blocksize")
    if call.attribute("mode", "DCR") == "CRD":
        return functional.pixel_shuffle(value, block)
    count, channels, height, width = value.shape
    split = value.reshape(count, block, block, channels // block**2, height, width)
    return split.permute(0, 3, 4, 1, 5, 2).reshape(count, channels // block**2, height * block, width * block)


@operation("SpaceToDepth")
def space_to_depth(call: Call) -> Outcome:
    value, block = call.tensor(0), call.attribute("blocksize")
    if call.attribute("mode", "DCR") == "CRD":
        return functional.pixel_unshuffle(value, block)
    count, channels, height, width = value.shape
    split = value.reshape(count, channels, height // block, block, width // block, block)
    return split.permute(0, 3, 5, 1, 2, 4).reshape(count, -1, height // block, width // block)


@operation("Trilu")
def triangle(call: Call) -> Outcome:
    function = torch.triu if call.attribute("upper", 1) else torch.tril
    return function(call.tensor(0), int(call.known(1, 0)))


@operation("OneHot")
def one_hot(call: Call) -> Outcome:
    depth = int(np.asarray(call.known(1)).reshape(-1)[0])
    off, on = call.tensor(2).reshape(-1).unbind()
    places, axis = call.tensor(0).long(), call.attribute("axis", -1)
    places = torch.where(places < 0, places + depth, places)
    axis = axis % (places.ndim + 1)
    is_hot = places.unsqueeze(axis) == torch.arange(depth).reshape(-1, *[1] * (places.ndim - axis))
    return torch.where(is_hot, on, off)


def _lone_number(call: Call, position: int) -> Any:
    return np.asarray(call.known(position)).reshape(-1).tolist()[0]


def _cut(value: torch.Tensor, axis: int, cut: tuple[Any, Any, int]) -> torch.Tensor:
    start, end, step = cut
    if step > 0:
        return value[(slice(None),) * axis + (slice(start, end, step),)]
    # A tensor is not sliced backwards: turned round, what counted from the end counts from the start.
    size = value.shape[axis]
    first = min(start + size if start < 0 else start, size - 1)
    last = end + size if -size <= end < 0 else max(end, -1)
    return value.flip(axis)[(slice(None),) * axis + (slice(size - 1 - first, size - 1 - last, -step),)]


def _numpy_slice(start: int, end: int, step: int) -> slice:
    return slice(start, None if step < 0 and end < -(10**9) else end, step)


def _narrow(value: torch.Tensor, axis: int, index: int) -> torch.Tensor:
    return value.narrow(axis, index % value.shape[axis], 1)
