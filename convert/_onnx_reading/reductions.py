"""Operators that reduce axes, rank along them, or make probabilities of them."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from edgepress.convert._onnx_reading.call import OPERATIONS, Call, Outcome, operation

Reduction = Callable[[torch.Tensor, list[int], bool], torch.Tensor]


def _product(value: torch.Tensor, axes: list[int], keep: bool) -> torch.Tensor:
    for axis in sorted(axes, reverse=True):
        value = value.prod(axis, keepdim=keep)
    return value


REDUCTIONS: dict[str, Reduction] = {
    "ReduceL1": lambda value, axes, keep: value.abs().sum(axes, keep),
    "ReduceL2": lambda value, axes, keep: value.square().sum(axes, keep).sqrt(),
    "ReduceLogSum": lambda value, axes, keep: value.sum(axes, keep).log(),
    "ReduceLogSumExp": lambda value, axes, keep: torch.logsumexp(value, axes, keep),
    "ReduceMax": lambda value, axes, keep: value.amax(axes, keep),
    "ReduceMean": lambda value, axes, keep: value.mean(axes, keep),
    "ReduceMin": lambda value, axes, keep: value.amin(axes, keep),
    "ReduceProd": _product,
    "ReduceSum": lambda value, axes, keep: value.sum(axes, keep),
    "ReduceSumSquare": lambda value, axes, keep: value.square().sum(axes, keep),
}


KNOWN: dict[str, Callable[..., Any]] = {
    "ReduceMax": np.max,
    "ReduceMin": np.min,
    "ReduceProd": np.prod,
    "ReduceSum": np.sum,
}
"""What shapes are reduced by."""


def _reduced(function: Reduction, call: Call) -> Outcome:
    axes = call.known_or_attribute(1, "axes")
    if call.all_known() and call.operation.type in KNOWN:
        over = tuple(axes) if axes else None
        reduce = KNOWN[call.operation.type]
        return np.asarray(reduce(call.value(0), over, keepdims=bool(call.attribute("keepdims", 1))))
    value = call.tensor(0)
    if not axes:
        if call.attribute("noop_with_empty_axes", 0):
            return value
        axes = list(range(value.ndim))
    return function(value, axes, bool(call.attribute("keepdims", 1)))


OPERATIONS.update({name: functools.partial(_reduced, function) for name, function in REDUCTIONS.items()})


@operation("ArgMax", "ArgMin")
def place_of_extreme(call: Call) -> Outcome:
    value, axis, keep = call.tensor(0), call.attribute("axis", 0), bool(call.attribute("keepdims", 1))
    is_last = bool(call.attribute("select_last_index", 0))
    value = value.flip(axis) if is_last else value
    place = value.argmax(axis, keep) if call.operation.type == "ArgMax" else value.argmin(axis, keep)
    return value.shape[axis] - 1 - place if is_last else place


@operation("TopK")
def top_k(call: Call) -> Outcome:
    count = call.known(1)
    count = count[0] if isinstance(count, list) else count
    value, axis = call.tensor(0), call.attribute("axis", -1)
    # torch.topk does not say which of equal values comes first; here it is the one in front.
    values, places = torch.sort(value, dim=axis, descending=bool(call.attribute("largest", 1)), stable=True)
    return [values.narrow(axis, 0, count), places.narrow(axis, 0, count)]


@operation("CumSum")
def running_sum(call: Call) -> Outcome:
    if call.attribute("exclusive", 0) or call.attribute("reverse", 0):
        raise call.unsupported("is exclusive or in reverse")
    axis = call.known(1)
    return torch.cumsum(call.tensor(0), axis[0] if isinstance(axis, list) else axis)


@operation("Softmax")
def softmax(call: Call) -> Outcome:
    return _over_axis(call, torch.softmax)


@operation("LogSoftmax")
def log_softmax(call: Call) -> Outcome:
    return _over_axis(call, torch.log_softmax)


def _over_axis(call: Call, function: Callable[[torch.Tensor, int], torch.Tensor]) -> torch.Tensor:
    """Before opset 13 the axis and all behind it are taken together."""
    value = call.tensor(0)
    if call.opset >= 13:
        return function(value, call.attribute("axis", -1))
    axis = call.attribute("axis", 1) % value.ndim
    if axis == value.ndim - 1:
        return function(value, axis)
    together = value.reshape(*value.shape[:axis], math.prod(value.shape[axis:]))
    return function(together, axis).reshape(value.shape)
