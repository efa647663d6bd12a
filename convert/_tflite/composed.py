"""What computes the same as operators that TFLite does not have, in the words of those that it has."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node
from torch.nn import functional

from edgepress.convert._tflite.spelling import spells
from edgepress.graph import aten


@spells(aten.tan.default)
def tan(x: Tensor) -> Tensor:
    return x.sin() / x.cos()


@spells(aten.reciprocal.default)
def reciprocal(x: Tensor) -> Tensor:
    return torch.ones(()) / x


@spells(aten.asin.default)
def asin(x: Tensor) -> Tensor:
    return torch.atan2(x, (1 - x * x).sqrt())


@spells(aten.acos.default)
def acos(x: Tensor) -> Tensor:
    return torch.atan2((1 - x * x).sqrt(), x)


@spells(aten.atan.default)
def atan(x: Tensor) -> Tensor:
    return torch.atan2(x, torch.ones_like(x))


@spells(aten.trunc.default)
def trunc(x: Tensor) -> Tensor:
    return torch.where(x < 0, x.ceil(), x.floor())


@spells(aten.log1p.default)
def log1p(x: Tensor) -> Tensor:
    return (x + 1).log()


@spells(aten.expm1.default)
def expm1(x: Tensor) -> Tensor:
    return x.exp() - 1


@spells(aten.log2.default)
def log2(x: Tensor) -> Tensor:
    return x.log() * (1 / math.log(2))


@spells(aten.log10.default)
def log10(x: Tensor) -> Tensor:
    return x.log() * (1 / math.log(10))


@spells(aten.exp2.default)
def exp2(x: Tensor) -> Tensor:
    return (x * math.log(2)).exp()


@spells(aten.sinh.default)
def sinh(x: Tensor) -> Tensor:
    return (x.exp() - (-x).exp()) * 0.5


@spells(aten.cosh.default)
def cosh(x: Tensor) -> Tensor:
    return (x.exp() + (-x).exp()) * 0.5


@spells(aten.log_sigmoid.default)
def log_sigmoid(x: Tensor) -> Tensor:
    return -functional.softplus(-x)


@spells(aten.hardshrink.default)
def hardshrink(x: Tensor, bound: float) -> Tensor:
    return torch.where(x.abs() > bound, x, 0)


@spells(aten.rsub.Scalar, fits=lambda given: given["alpha"] != 1)
def reversed_subtract(x: Tensor, other: float, alpha: float) -> Tensor:
    return other - x * alpha


@spells(aten.isnan.default)
def isnan(x: Tensor) -> Tensor:
    return x != x


@spells(aten.threshold.default)
def threshold(x: Tensor, bound: float, filling: float) -> Tensor:
    return torch.where(x > bound, x, filling)


@spells(aten.celu.default, fits=lambda given: given["alpha"] != 1)
def celu(x: Tensor, alpha: float) -> Tensor:
    return torch.relu(x) + alpha * functional.elu(x.clamp(max=0) / alpha)


@spells(aten.softplus.default, fits=lambda given: given["beta"] != 1)
def softplus(x: Tensor, beta: float, _: float) -> Tensor:
    """The threshold only keeps PyTorch's own way of computing it from overflowing."""
    return functional.softplus(x * beta) / beta


@spells(aten.logsumexp.default)
def logsumexp(x: Tensor, axes: Sequence[int], keep: bool) -> Tensor:
    """From the largest on, so that nothing overflows."""
    over = list(axes)
    largest = x.amax(over, True)
    total = (x - largest).exp().sum(over, True).log() + largest
    return total if keep else total.squeeze(tuple(over))


@spells(aten.max.dim)
def largest_and_where(x: Tensor, axis: int, keep: bool) -> tuple[Tensor, Tensor]:
    return x.amax(axis, keep), x.argmax(axis, keep)


@spells(aten.min.dim)
def smallest_and_where(x: Tensor, axis: int, keep: bool) -> tuple[Tensor, Tensor]:
    return x.amin(axis, keep), x.argmin(axis, keep)


@spells(aten.linalg_vector_norm.default, fits=lambda given: not _is_kept_euclidean(given))
def vector_norm(x: Tensor, order: float, axes: Sequence[int] | None, keep: bool, _: Any) -> Tensor:
    axes = list(range(x.ndim)) if not axes else list(axes)
    if math.isinf(order):
        return x.abs().amax(axes, keep) if order > 0 else x.abs().amin(axes, keep)
    if order == 1:
        return x.abs().sum(axes, keep)
    if order == 2:
        return (x * x).sum(axes, keep).sqrt()
    return (x.abs().pow(order)).sum(axes, keep).pow(1 / order)


def _is_kept_euclidean(given: Any) -> bool:
    return bool(given["ord"] == 2 and given["dim"] and given["keepdim"])


@spells(aten.var.correction)
def variance(x: Tensor, axes: Sequence[int] | None, correction: float | None, keep: bool) -> Tensor:
    over = list(axes) if axes else list(range(x.ndim))
    freedom = math.prod(x.shape[axis] for axis in over) - (1.0 if correction is None else correction)
    centred = x - x.mean(over, True)
    return (centred * centred).sum(over, keep) * (1 / freedom)


@spells(aten.std.correction)
def deviation(x: Tensor, axes: Sequence[int] | None, correction: float | None, keep: bool) -> Tensor:
    return variance(x, axes, correction, keep).sqrt()


@spells(aten.fmod.Tensor, aten.fmod.Scalar)
def fmod(x: Tensor, divisor: Any) -> Tensor:
    """What is left has the sign of what was divided."""
    rest = torch.remainder(x.abs(), divisor.abs() if isinstance(divisor, Tensor) else abs(divisor))
    return torch.where(x < 0, -rest, rest)


@spells(aten.div.Tensor_mode, aten.div.Scalar_mode, aten.floor_divide.default)
def divide(x: Tensor, divisor: Any, mode: str | None = "floor") -> Tensor:
    """Whole numbers through float32, which holds them up to 2^24."""
    quotient = _as_real(x) / (_as_real(divisor) if isinstance(divisor, Tensor) else divisor)
    if mode == "trunc":
        quotient = torch.where(quotient < 0, quotient.ceil(), quotient.floor())
    elif mode == "floor":
        quotient = quotient.floor()
    is_whole = mode and not x.is_floating_point() and not _is_real(divisor)
    return quotient.to(x.dtype) if is_whole else quotient


@spells(aten.pow.Tensor_Tensor, aten.pow.Tensor_Scalar, fits=lambda given: not _is_real(given["self"]))
def power(x: Tensor, exponent: Any) -> Tensor:
    """Of whole numbers, through float32."""
    made = torch.pow(_as_real(x), _as_real(exponent) if isinstance(exponent, Tensor) else exponent)
    return made if _is_real(exponent) else made.round().to(x.dtype)


def _is_real(value: Any) -> bool:
    if isinstance(value, Node):
        value = value.meta["val"]
    return value.is_floating_point() if isinstance(value, Tensor) else isinstance(value, float)


def _as_real(x: Tensor) -> Tensor:
    return x if x.is_floating_point() else x.to(torch.float32)


@spells(aten.triu.default)
def triu(x: Tensor, diagonal: int) -> Tensor:
    return torch.where(torch.ones(x.shape[-2:], dtype=torch.bool).triu(diagonal), x, 0)


@spells(aten.tril.default)
def tril(x: Tensor, diagonal: int) -> Tensor:
    return torch.where(torch.ones(x.shape[-2:], dtype=torch.bool).tril(diagonal), x, 0)


@spells(aten.pad.default, fits=lambda given: given["mode"] in ("replicate", "circular"))
def pad(x: Tensor, widths: Sequence[int], mode: str, _: Any) -> Tensor:
    """Entries chosen again: at the ends, or from the other end."""
    for number in range(len(widths) // 2):
        before, after = widths[2 * number : 2 * number + 2]
        axis = x.ndim - 1 - number
        places = torch.arange(-before, x.shape[axis] + after)
        last = x.shape[axis] - 1
        places = places.clamp(0, last) if mode == "replicate" else places.remainder(last + 1)
        x = x.index_select(axis, places)
    return x


@spells(
    aten.addmm.default, fits=lambda given: given["mat2"].op != "get_attr" or given["self"].op != "get_attr"
)
def addmm(summand: Tensor, left: Tensor, right: Tensor, beta: float, alpha: float) -> Tensor:
    product = left @ right
    product = product if alpha == 1 else product * alpha
    return product + (summand if beta == 1 else summand * beta)


@spells(
    aten.scaled_dot_product_attention.default,
    fits=lambda given: given["is_causal"] and not given["dropout_p"],
)
def causal_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    _mask: None,
    _dropout: float,
    _causal: bool,
    scale: float | None,
    *_: Any,
) -> Tensor:
    """No position looks at a later one: the mask is stored."""
    mask = torch.ones(query.shape[-2], key.shape[-2], dtype=torch.bool).tril()
    return functional.scaled_dot_product_attention(query, key, value, mask, scale=scale)
