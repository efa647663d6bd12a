"""A batch-norm behind a refitted layer: the layer's target is what it reads, and its constants follow the fit."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.fx import GraphModule, Node

from edgepress import graph

CONSTANTS = ("weight", "bias", "running_mean", "running_var")


@dataclass(frozen=True, eq=False)
class Norm:
    """The batch-norm as numbers in float64, one a channel."""

    node: Node
    weight: torch.Tensor
    bias: torch.Tensor
    running_mean: torch.Tensor
    running_var: torch.Tensor
    eps: float

    @classmethod
    def read(cls, graph_module: GraphModule, node: Node) -> Norm:
        arguments = graph.arguments(node)
        values = {}
        for name in CONSTANTS:
            value = graph.constant(graph_module, arguments[name])
            assert value is not None, "is_settled looked for them"
            values[name] = value.detach().double()
        return cls(node, **values, eps=arguments["eps"])

    @property
    def factor(self) -> torch.Tensor:
        """What a channel is multiplied by."""
        return self.weight / (self.running_var + self.eps).sqrt()

    def undone(self, outputs: torch.Tensor, axis: int) -> torch.Tensor:
        """What the batch-norm would have to read to give `outputs`, whose channels are on `axis`.

        A channel with a factor of zero gives the same whatever it reads: its running mean, then.
        """
        shape = [-1 if place == axis % outputs.ndim else 1 for place in range(outputs.ndim)]
        is_dead = self.factor == 0
        scale = torch.where(is_dead, 0.0, 1 / torch.where(is_dead, 1.0, self.factor))
        return (outputs - self.bias.view(shape)) * scale.view(shape) + self.running_mean.view(shape)

    def follow(
        self, graph_module: GraphModule, mean: torch.Tensor, variance: torch.Tensor, target: torch.Tensor
    ) -> None:
        """Take the statistics of the refitted layer, and keep computing the same function of its fit.

        mean, variance: of what the layer gives now. target: the mean of what it should give, which the bias takes over.
        """
        values = {
            "weight": self.factor * (variance + self.eps).sqrt(),
            "bias": self.bias + self.factor * (target - self.running_mean),
            "running_mean": mean,
            "running_var": variance,
        }
        arguments = graph.arguments(self.node)
        for name, value in values.items():
            graph.set_constant(graph_module, str(arguments[name].target), value.float())


def is_settled(graph_module: GraphModule, norm: Node) -> bool:
    """Whether the batch-norm has a weight, a bias and statistics of its own, which nothing else reads."""
    constants = [graph.arguments(norm)[name] for name in CONSTANTS]
    return all(
        graph.constant(graph_module, node) is not None and graph.readers(graph_module, node) == 1
        for node in constants
    )
