"""What a file of a fixed batch says of sizes, where any batch may come: shapes that spell the batch out, and parts of one sample."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from edgepress.convert._onnx_reading.call import Call, Value


def reshaped(call: Call, target: list[Any], value: torch.Tensor) -> list[Any]:
    """The shape that `value` takes where the file gives it the shape `target`. The batch is looked for at its place
    among all elements, as it may stand behind the steps of a sequence, or share an axis with heads."""
    before, wanted = call.told if len(call.told) == 2 else (None, None)
    if call.batch is None or before is None:
        return target
    free = [axis for axis, size in enumerate(value.shape) if not _is(size, before.shape[axis])]
    if len(free) != 1 or not _is_of_file(target, before.shape, wanted):
        return target
    (axis,) = free
    spelt = _without_rest(target, math.prod(before.shape))
    others = before.shape[axis] // call.batch
    made = _place(spelt, call.batch, math.prod(before.shape[:axis]), others)
    if made is None or before.shape[axis] % call.batch or spelt[made] % call.batch:
        return target
    size = spelt[made] // call.batch * (value.shape[axis] // others)
    return [*spelt[:made], size, *spelt[made + 1 :]]


def front_batch(call: Call, target: list[Any], value: torch.Tensor) -> list[Any]:
    """A shape that spells out the batch which the file was exported with takes the size it really has."""
    if call.batch is not None and target and target[0] == call.batch and _keeps_batch(target, value):
        return [value.shape[0], *target[1:]]
    return target


def in_batches(call: Call, parts: list[torch.Tensor]) -> list[torch.Tensor]:
    """A file of batch 1 may hold a part of its own beside what depends on the inputs, as a transformer's class token:
    where the batch is free, each sample takes that part."""
    sizes = [part.shape[0] for part in parts]
    batch = next((size for size in sizes if not _is(size, 1)), 1)
    if call.batch != 1 or _is(batch, 1):
        return parts
    return [
        part.expand(batch, *part.shape[1:]) if _is(size, 1) else part
        for part, size in zip(parts, sizes, strict=True)
    ]


def _is(size: Any, number: int) -> bool:
    """Whether a size is this number, without asking a free one, which would fix it."""
    return isinstance(size, int) and size == number


def _is_of_file(target: list[Any], shape: Sequence[int], wanted: Value | None) -> bool:
    """Whether the shape is as the file's batch makes it, and not computed or copied (0) of the free one."""
    if not isinstance(wanted, np.ndarray):
        return False
    spelt = [shape[axis] if size == 0 else size for axis, size in enumerate(wanted.tolist())]
    return all(_is(size, number) for size, number in zip(target, spelt, strict=True))


def _without_rest(target: list[int], elements: int) -> list[int]:
    """The shape with the size that -1 stands for."""
    rest = elements // max(math.prod(size for size in target if size != -1), 1)
    return [rest if size == -1 else size for size in target]


def _place(target: Sequence[int], batch: int, before: int, others: int) -> int | None:
    """The axis of `target` that takes the batch. It comes behind `before` elements, or behind `others` more, which share
    its axis. An axis of its own is preferred; the last one, of features, does not take it."""
    leading = [math.prod(target[:axis]) for axis in range(len(target))]
    for place in (before, before * others):
        for axis, size in enumerate(target):
            if leading[axis] == place and size == batch:
                return axis
    if before not in leading:
        return None
    axis = len(leading) - 1 - leading[::-1].index(before)
    return axis if axis < len(target) - 1 else max(axis - 1, 0)


def _keeps_batch(target: list[Any], value: torch.Tensor) -> bool:
    rest = math.prod(value.shape[1:])
    return -1 in target or rest == math.prod(target[1:]) or len(target) != value.ndim
