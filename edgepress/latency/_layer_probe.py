"""A network of one layer, to time that layer as a target's runtime executes it."""

from __future__ import annotations

import torch

from edgepress import graph
from edgepress.program import Program
from edgepress.stopwatch import LayerShape

OPERATORS = {str(operator): operator for operator in graph.WEIGHTED}


class _Layer(torch.nn.Module):
    """The layer with random weights and a bias, which batch-norms in front of or behind it leave in a file."""

    def __init__(self, shape: LayerShape) -> None:
        super().__init__()
        self.operator = OPERATORS[shape.operator]
        self.settings = {
            name: list(value) if isinstance(value, tuple) else value for name, value in shape.settings
        }
        generator = torch.Generator().manual_seed(0)
        self.weight = torch.nn.Parameter(0.1 * torch.randn(shape.weight, generator=generator))
        self.bias = torch.nn.Parameter(torch.zeros(output_channels(shape)))

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.operator(values, self.weight, self.bias, **self.settings)
        return result


def probe(shape: LayerShape) -> Program:
    """The layer as a Program whose batch is dynamic, as any other's."""
    return Program.capture(_Layer(shape), (torch.zeros(2, *shape.input[1:]),))


def output_channels(shape: LayerShape) -> int:
    if "transpose" not in shape.operator:
        return shape.weight[0]
    groups = dict(shape.settings)["groups"]
    assert isinstance(groups, int), "an operator's group count is a number"
    return shape.weight[1] * groups
