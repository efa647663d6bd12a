"""How the weight of one layer is seen while it trains, and the integers that are left of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch.fx import GraphModule, Node

from edgepress.compress._quantization.weights import QuantizedWeight


class WeightForm(ABC):
    """One for each layer. It stores what it needs beside the weight under `holder`, a dotted name that goes when the
    training is over: what is learned there is guarded as the steps of activations are."""

    @abstractmethod
    def insert(self, graph_module: GraphModule, weight: Node, holder: str) -> Node:
        """A node behind `weight` that gives its form, differentiable; or `weight` itself. Nobody reads it yet."""

    @abstractmethod
    def integers(self, module: torch.nn.Module, weight: torch.Tensor, holder: str) -> QuantizedWeight:
        """What the trained weight has become: small integers, and a scale for each output channel."""


def call_behind(
    graph_module: GraphModule,
    weight: Node,
    function: Callable[..., torch.Tensor],
    stored: Sequence[str] = (),
    constants: Sequence[int] = (),
) -> Node:
    """function(weight, stored ..., constants ...) right behind `weight`, `stored` being dotted names."""
    behind, tensors = weight, []
    for name in stored:
        with graph_module.graph.inserting_after(behind):
            behind = graph_module.graph.get_attr(name)
        tensors.append(behind)
    with graph_module.graph.inserting_after(behind):
        return graph_module.graph.call_function(function, (weight, *tensors, *constants))


def mean_of(magnitudes: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """The mean in each output channel of those that are chosen (bool); 0 where none is."""
    rows, mask = magnitudes.flatten(1), chosen.flatten(1)
    return (rows * mask).sum(1) / mask.sum(1).clamp(min=1)


def straight_through(made: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """`made`, with the gradient of `weight` (Bengio et al., 2013, Estimating or Propagating Gradients)."""
    return made.detach() + (weight - weight.detach())
