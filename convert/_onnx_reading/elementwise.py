"""Operators that work on each element by itself: arithmetic, comparisons, activations, casts."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import torch
from torch.nn import functional

from edgepress.convert._onnx_reading.call import OPERATIONS, Call, Outcome, operation

ONE: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "Abs": torch.abs,
    "Acos": torch.acos,
    "Asin": torch.asin,
    "Atan": torch.atan,
    "Ceil": torch.ceil,
    "Cos": torch.cos,
    "Erf": torch.erf,
    "Exp": torch.exp,
    "Floor": torch.floor,
    "HardSwish": functional.hardswish,
    "IsNaN": torch.isnan,
    "Log": torch.log,
    "Mish": functional.mish,
    "Neg": torch.neg,
    "Not": torch.logical_not,
    "Reciprocal": torch.reciprocal,
    "Relu": torch.relu,
    "Round": torch.round,
    "Sigmoid": torch.sigmoid,
    "Sign": torch.sign,
    "Sin": torch.sin,
    "Softplus": functional.softplus,
    "Softsign": functional.softsign,
    "Sqrt": torch.sqrt,
    "Tan": torch.tan,
    "Tanh": torch.tanh,
}

TWO: dict[str, Callable[[Any, Any], Any]] = {
    "Add": lambda first, second: first + second,
    "And": torch.logical_and,
    "Equal": lambda first, second: first == second,
    "Greater": lambda first, second: first > second,
    "GreaterOrEqual": lambda first, second: first >= second,
    "Less": lambda first, second: first < second,
    "LessOrEqual": lambda first, second: first <= second,
    "Mul": lambda first, second: first * second,
    "Or": torch.logical_or,
    "Sub": lambda first, second: first - second,
    "Xor": torch.logical_xor,
}

MANY: dict[str, Callable[[Any, Any], Any]] = {
    "Max": torch.maximum,
    "Min": torch.minimum,
    "Sum": lambda first, second: first + second,
}


KNOWN: dict[str, Callable[..., Any]] = {
    "Abs": np.abs,
    "And": np.logical_and,
    "Ceil": np.ceil,
    "Floor": np.floor,
    "Max": np.maximum,
    "Min": np.minimum,
    "Neg": np.negative,
    "Not": np.logical_not,
    "Or": np.logical_or,
    "Sqrt": np.sqrt,
    "Xor": np.logical_xor,
}
"""What is done to values known beforehand, where the function for tensors does not do it to arrays as well."""


def _one(function: Callable[[torch.Tensor], torch.Tensor], call: Call) -> Outcome:
    if call.all_known() and call.operation.type in KNOWN:
        return np.asarray(KNOWN[call.operation.type](call.value(0)))
    return function(call.tensor(0))


def _two(function: Callable[[Any, Any], Any], call: Call) -> Outcome:
    if call.all_known():
        on_arrays: Callable[..., Any] = KNOWN.get(call.operation.type, function)
        return np.asarray(on_arrays(*call.values))
    made: torch.Tensor = function(*_operands(call))
    return made


def _many(function: Callable[[Any, Any], Any], call: Call) -> Outcome:
    if call.all_known() and call.operation.type in KNOWN:
        return np.asarray(functools.reduce(KNOWN[call.operation.type], call.values))
    return functools.reduce(function, [call.tensor(position) for position in range(len(call))])


OPERATIONS.update({name: functools.partial(_one, function) for name, function in ONE.items()})
OPERATIONS.update({name: functools.partial(_two, function) for name, function in TWO.items()})
OPERATIONS.update({name: functools.partial(_many, function) for name, function in MANY.items()})


@operation("Div")
def divide(call: Call) -> Outcome:
    """Whole numbers are cut towards zero, as in C."""
    known = [value for value in call.values if isinstance(value, np.ndarray)]
    if len(known) == 2:
        is_whole = all(value.dtype.kind in "iuO" for value in known)
        return np.asarray(known[0] // known[1] if is_whole else known[0] / known[1])
    first, second = call.tensor(0), call.tensor(1)
    if first.is_floating_point() or second.is_floating_point():
        return first / second
    return torch.div(first, second, rounding_mode="trunc")


@operation("Pow")
def power(call: Call) -> Outcome:
    exponent = call.value(1)
    if isinstance(exponent, np.ndarray) and exponent.size == 1:
        return torch.pow(call.tensor(0), exponent.item())
    return torch.pow(call.tensor(0), call.tensor(1)).to(call.tensor(0).dtype)


@operation("Mod")
def modulo(call: Call) -> Outcome:
    function = torch.fmod if call.attribute("fmod", 0) else torch.remainder
    return function(call.tensor(0), call.tensor(1))


@operation("Mean")
def mean(call: Call) -> Outcome:
    total = _many(MANY["Sum"], call)
    assert isinstance(total, torch.Tensor)
    return total / len(call)


@operation("Where")
def where(call: Call) -> Outcome:
    if call.all_known():
        condition, first, second = (call.value(position) for position in range(3))
        return np.where(np.asarray(condition, bool), first, second)  # type: ignore[arg-type]  # all of a known call is arrays
    return torch.where(call.tensor(0).bool(), call.tensor(1), call.tensor(2))


@operation("Identity", "Dropout")
def identity(call: Call) -> Outcome:
    """What dropout does where nothing is trained."""
    if call.known(2, False):
        raise call.unsupported("is in training mode")
    value = call.value(0)
    assert value is not None
    return value


@operation("Cast")
def cast(call: Call) -> Outcome:
    value, kind = call.value(0), onnx.helper.tensor_dtype_to_np_dtype(call.attribute("to"))
    if isinstance(value, np.ndarray):
        return value if value.dtype == object and kind.kind in "iu" else value.astype(kind)
    return call.tensor(0).to(torch_type(kind))


@operation("CastLike")
def cast_like(call: Call) -> Outcome:
    return call.tensor(0).to(call.tensor(1).dtype)


@operation("LeakyRelu")
def leaky_relu(call: Call) -> Outcome:
    return functional.leaky_relu(call.tensor(0), call.attribute("alpha", 0.01))


@operation("Elu")
def elu(call: Call) -> Outcome:
    return functional.elu(call.tensor(0), call.attribute("alpha", 1.0))


@operation("Celu")
def celu(call: Call) -> Outcome:
    return functional.celu(call.tensor(0), call.attribute("alpha", 1.0))


@operation("Selu")
def selu(call: Call) -> Outcome:
    alpha = float(call.attribute("alpha", 1.67326319217681884765625))
    gamma = float(call.attribute("gamma", 1.05070102214813232421875))
    return gamma * functional.elu(call.tensor(0), alpha)


@operation("ThresholdedRelu")
def thresholded_relu(call: Call) -> Outcome:
    return functional.threshold(call.tensor(0), call.attribute("alpha", 1.0), 0.0)


@operation("Gelu")
def gelu(call: Call) -> Outcome:
    return functional.gelu(call.tensor(0), approximate=call.attribute("approximate", "none"))


@operation("HardSigmoid")
def hard_sigmoid(call: Call) -> Outcome:
    alpha, beta = call.attribute("alpha", 0.2), call.attribute("beta", 0.5)
    if abs(alpha - 1 / 6) < 1e-6 and beta == 0.5:
        return functional.hardsigmoid(call.tensor(0))
    return torch.clamp(alpha * call.tensor(0) + beta, 0, 1)


@operation("PRelu")
def prelu(call: Call) -> Outcome:
    value, slope = call.tensor(0), call.tensor(1)
    if slope.ndim <= 1 and slope.numel() in (1, value.shape[1]):
        return functional.prelu(value, slope.reshape(-1) if slope.ndim == 0 else slope)
    return torch.where(value < 0, value * slope, value)


@operation("Clip")
def clip(call: Call) -> Outcome:
    least = call.known_or_attribute(1, "min")
    most = call.known_or_attribute(2, "max")
    value = call.tensor(0)
    if least == 0 and most is None:
        return torch.relu(value)
    if least == 0 and most == 6:
        return functional.relu6(value)
    return value if least is None and most is None else torch.clamp(value, least, most)


def torch_type(kind: np.dtype[Any]) -> torch.dtype:
    """PyTorch's name of a NumPy type."""
    return torch.from_numpy(np.empty(0, kind)).dtype


def _operands(call: Call) -> tuple[Any, Any]:
    """Both inputs; beside a tensor, a lone known number as a Python number, which has no type of its own."""
    return _number_or_tensor(call, 0), _number_or_tensor(call, 1)


def _number_or_tensor(call: Call, position: int) -> Any:
    value, other = call.value(position), call.value(1 - position)
    is_number = isinstance(value, np.ndarray) and value.size == 1 and value.dtype != bool
    if is_number and isinstance(other, torch.Tensor) and other.ndim >= value.ndim:  # type: ignore[union-attr]  # an array of one entry, by is_number
        return value.reshape(-1).tolist()[0]  # type: ignore[union-attr]  # the same
    return call.tensor(position)
