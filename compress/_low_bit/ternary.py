"""Weights that are negative, zero or positive, by one scale for each output channel or two that are learned."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

import torch
from torch.autograd.function import once_differentiable
from torch.fx import GraphModule, Node

from edgepress import graph
from edgepress.compress._low_bit.form import WeightForm, call_behind, mean_of, straight_through
from edgepress.compress._quantization.weights import QuantizedWeight, beside

TernaryMethod = Literal["twn", "ttq"]

THRESHOLD = 0.7
"""Of a channel's mean magnitude: what is smaller becomes zero. The least squared error of weights that are distributed
normally, or evenly (Li et al., 2016, section 2.3)."""

LARGEST_INTEGER = 63
"""Two learned scales become two integers in one ratio: to 1 in 4,000 or better, and products of neighbours still fit
16 bits."""


@dataclass(frozen=True)
class Ternary(WeightForm):
    """Li, Zhang and Liu (2016), Ternary Weight Networks: the mean magnitude of what is not zero, for each channel."""

    def insert(self, graph_module: GraphModule, weight: Node, holder: str) -> Node:
        return call_behind(graph_module, weight, ternary)

    def integers(self, module: torch.nn.Module, weight: torch.Tensor, holder: str) -> QuantizedWeight:
        return QuantizedWeight(_signs(weight).to(torch.int8), _scale(weight).float(), 1)


@dataclass(frozen=True)
class TrainedTernary(WeightForm):
    """Zhu, Han, Mao and Dally (2017), Trained Ternary Quantization: two learned scales for each layer.

    They multiply what the channels' scales were before the training, as a folded batch norm has left channels of
    different sizes; thresholds are those of ternary weight networks.
    """

    def insert(self, graph_module: GraphModule, weight: Node, holder: str) -> Node:
        stored = graph.constant(graph_module, weight)
        assert stored is not None, "the plan has layers with stored weights alone"
        graph.set_constant(graph_module, f"{holder}.scales", torch.nn.Parameter(torch.ones(2)))
        graph.set_constant(graph_module, f"{holder}.unit", _scale(stored))
        names = [f"{holder}.{part}" for part in ("scales", "unit")]
        return call_behind(graph_module, weight, trained_ternary, names)

    def integers(self, module: torch.nn.Module, weight: torch.Tensor, holder: str) -> QuantizedWeight:
        own = module.get_submodule(holder)
        positive, negative = own.get_parameter("scales").detach().double().tolist()
        ratio = Fraction(min(positive, negative) / max(positive, negative))
        ratio = max(ratio.limit_denominator(LARGEST_INTEGER), Fraction(1, LARGEST_INTEGER))
        above, below = ratio.denominator, ratio.numerator
        if positive < negative:
            above, below = below, above
        signs = _signs(weight)
        integers = torch.where(signs > 0, above, below) * signs
        step = max(positive, negative) / max(above, below)
        return QuantizedWeight(
            integers.to(torch.int8), (own.get_buffer("unit") * step).float(), max(above, below)
        )


def ternary(weight: torch.Tensor) -> torch.Tensor:
    """-1, 0 or 1 of each weight (N, ...) times its channel's scale, with the weight's own gradient."""
    return straight_through(_signs(weight) * beside(_scale(weight), weight), weight)


def trained_ternary(weight: torch.Tensor, scales: torch.Tensor, unit: torch.Tensor) -> torch.Tensor:
    """As `ternary`, with the two `scales`, of what is above zero and below, times `unit` (N)."""
    made: torch.Tensor = _Trained.apply(weight, scales, unit)  # type: ignore[no-untyped-call]  # PyTorch's own is not annotated
    return made


class _Trained(torch.autograd.Function):
    """Equations 7 and 8; the gradients of the scales are divided by the root of how many weights they sum over, as those
    of learned steps are: they would outweigh all others."""

    @staticmethod
    def forward(ctx: Any, weight: torch.Tensor, scales: torch.Tensor, unit: torch.Tensor) -> torch.Tensor:
        signs = _signs(weight)
        ctx.save_for_backward(signs, scales, unit)
        return _factors(signs, scales) * signs * beside(unit, weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None]:
        signs, scales, unit = ctx.saved_tensors
        sized = gradient * beside(unit, gradient)
        sums = torch.stack([(sized * (signs > 0)).sum(), -(sized * (signs < 0)).sum()])
        return gradient * _factors(signs, scales), sums * signs.numel() ** -0.5, None


def _factors(signs: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
    """The scale of each weight; 1 for what is zero."""
    one = torch.ones_like(signs)
    return torch.where(signs > 0, scales[0], torch.where(signs < 0, scales[1], one))


def _signs(weight: torch.Tensor) -> torch.Tensor:
    weight = weight.detach()
    threshold = THRESHOLD * mean_of(weight.abs(), weight != 0)
    return weight.sign() * (weight.abs() > beside(threshold, weight))


def _scale(weight: torch.Tensor) -> torch.Tensor:
    weight = weight.detach()
    return mean_of(weight.abs(), _signs(weight) != 0)
