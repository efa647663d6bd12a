"""Folding factors into the layers in front of them: the network's answers stay as they are."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from edgepress import graph
from edgepress.compress._fold_factors import fold_factors
from edgepress.program import Program

INPUT = torch.randn(3, 4, 6, 6, generator=torch.Generator().manual_seed(0))


class Scaled(nn.Module):
    """A layer and a factor behind it, as networks write that."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.linear, self.conv = kind, nn.Linear(4, 8), nn.Conv2d(4, 8, 1, bias=False)
        self.transposed = nn.ConvTranspose2d(4, 8, 2)
        self.gamma = nn.Parameter(torch.rand(6 if kind == "along width" else 8))

    def forward(self, x: Tensor) -> Tensor:
        last = self.linear(x.permute(0, 2, 3, 1))
        match self.kind:
            case "last axis":
                return self.gamma * last
            case "permuted":
                return (
                    nn.functional.dropout(last, 0.1, self.training).permute(0, 3, 1, 2)
                    * self.gamma[:, None, None]
                )
            case "reshaped":
                return self.conv(x) * self.gamma.view(1, -1, 1, 1)
            case "transposed":
                return self.transposed(x) * self.gamma.view(1, -1, 1, 1)
            case "a number":
                return self.conv(x) * 0.1
            case "along width":
                return self.conv(x) * self.gamma
            case "read twice":
                return last * self.gamma + last
            case _:
                return self.conv(x) * self.gamma.view(1, -1, 1, 1) + self.conv(x.flip(2))


def folded(kind: str) -> tuple[torch.fx.GraphModule, tuple[str, ...]]:
    torch.manual_seed(0)
    module = Program.capture(Scaled(kind).eval(), (INPUT[:2],)).graph_module()
    before = module(INPUT)
    layers = fold_factors(module)
    module.recompile()
    torch.testing.assert_close(module(INPUT), before, rtol=1e-4, atol=1e-6)
    return module, layers


@pytest.mark.parametrize(
    ("kind", "layer"),
    [("last axis", "linear"), ("permuted", "linear"), ("reshaped", "conv"), ("transposed", "transposed")]
    + [("a number", "conv")],
)
def test_a_factor_goes_into_the_layer(kind: str, layer: str) -> None:
    module, layers = folded(kind)
    assert layers == (layer,)
    assert "mul" not in [graph.op_name(node) for node in graph.operators(module)]


@pytest.mark.parametrize("kind", ["along width", "read twice", "shared"])
def test_a_factor_stays_where_the_layer_alone_cannot_have_it(kind: str) -> None:
    assert folded(kind)[1] == ()
