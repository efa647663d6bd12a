"""Weights of one bit, their sign times a scale for each output channel; and DoReFa's, of one or a few bits.

What is exactly zero stays zero, so that a pruned network keeps its zeros.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch.fx import GraphModule, Node

from edgepress.compress._low_bit.form import WeightForm, call_behind, mean_of, straight_through
from edgepress.compress._quantization.weights import QuantizedWeight, beside

BinaryMethod = Literal["xnor", "bi_real"]

WINDOW = 4.0
"""Weights beyond so many of their channel's scale get no gradient through the sign: they have gone far enough. The
papers' end is 1 whatever the scale, which suits networks whose batch norms keep weights small; a folded one does not."""


@dataclass(frozen=True)
class Binary(WeightForm):
    """xnor: the gradient goes through the scale as well (Rastegari et al., 2016, XNOR-Net, section 3.1).
    bi_real: through the sign alone, as large as the weights are (Liu et al., 2018, Bi-Real Net, section 3.3)."""

    method: BinaryMethod

    def insert(self, graph_module: GraphModule, weight: Node, holder: str) -> Node:
        return call_behind(graph_module, weight, binary, constants=(self.method == "xnor",))

    def integers(self, module: torch.nn.Module, weight: torch.Tensor, holder: str) -> QuantizedWeight:
        return _stored(weight.sign(), _scale(weight), 1)


@dataclass(frozen=True)
class DoReFa(WeightForm):
    """Zhou et al. (2016), DoReFa-Net: odd integers up to 2**bits - 1 in evenly spaced steps of the weights' tanh.

    The scale of a channel is the one that leaves the least squared error, where the paper's layers have none but a batch
    norm behind them. Weights are measured against their channel's root mean square, twice that for each bit above
    two: the fewer integers, the more the tanh has to draw large weights in.
    """

    bits: int

    def insert(self, graph_module: GraphModule, weight: Node, holder: str) -> Node:
        return call_behind(graph_module, weight, dorefa, constants=(self.bits,))

    def integers(self, module: torch.nn.Module, weight: torch.Tensor, holder: str) -> QuantizedWeight:
        made = _odd_integers(weight, self.bits)
        return _stored(made, _least_squares(weight, made), (1 << self.bits) - 1)


def binary(weight: torch.Tensor, through_scale: bool) -> torch.Tensor:
    """The sign of each weight (N, ...) times the mean magnitude of its channel."""
    scale = _scale(weight)
    if not through_scale:
        scale = scale.detach()
    inside = weight.detach().abs() <= WINDOW * beside(scale.detach(), weight)
    return weight.sign().detach() * beside(scale, weight) + (weight - weight.detach()) * inside


def dorefa(weight: torch.Tensor, bits: int) -> torch.Tensor:
    """The weight (N, ...) in its `bits`, with the gradient of the tanh; of one bit, with the weight's own."""
    made = _odd_integers(weight, bits)
    whole = made * beside(_least_squares(weight, made), weight)
    if bits == 1:
        return straight_through(whole, weight)
    slope = 1 - torch.tanh(weight.detach() / _unit(weight, bits)).square()
    return whole.detach() + (weight - weight.detach()) * slope


def _odd_integers(weight: torch.Tensor, bits: int) -> torch.Tensor:
    weight = weight.detach()
    if bits == 1:
        return weight.sign()
    limit = (1 << bits) - 1
    squashed = torch.tanh(weight / _unit(weight, bits))
    most = beside(squashed.flatten(1).abs().amax(1).clamp(min=1e-30), weight)
    found: torch.Tensor = 2 * (limit * (squashed / (2 * most) + 0.5)).round() - limit
    return found * (weight != 0)


def _unit(weight: torch.Tensor, bits: int) -> torch.Tensor:
    square = mean_of(weight.detach().square(), weight.detach() != 0)
    return beside(square.sqrt().clamp(min=1e-30) * 2.0 ** (bits - 2), weight)


def _least_squares(weight: torch.Tensor, made: torch.Tensor) -> torch.Tensor:
    """The scale of each channel at which `made` is the closest to `weight`."""
    rows, integers = weight.detach().flatten(1), made.flatten(1)
    return (rows * integers).sum(1) / integers.square().sum(1).clamp(min=1)


def _scale(weight: torch.Tensor) -> torch.Tensor:
    """The mean magnitude of each channel: what its signs are multiplied by at the least squared error."""
    return mean_of(weight.abs(), weight.detach() != 0)


def _stored(integers: torch.Tensor, scales: torch.Tensor, limit: int) -> QuantizedWeight:
    return QuantizedWeight(integers.to(torch.int8), scales.detach().float(), limit)
