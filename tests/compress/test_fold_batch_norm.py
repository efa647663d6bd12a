"""Folding batch norms, and making in-place operators functional: the network's answers stay as they are."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.fx import GraphModule

from edgepress import graph
from edgepress.compress._fold_batch_norm import fold_batch_norms
from edgepress.compress._functional import make_functional
from edgepress.errors import UnsupportedModel
from edgepress.program import Program

INPUT = torch.randn(3, 4, 9, 9, generator=torch.Generator().manual_seed(0))


def captured(network: nn.Module) -> GraphModule:
    for module in network.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2)
            if module.affine:
                nn.init.normal_(module.weight)
                nn.init.normal_(module.bias)
    return Program.capture(network, (INPUT[:2],)).graph_module()


def types(module: GraphModule) -> list[str]:
    return [graph.op_name(node) for node in graph.operators(module)]


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(4, 8, 3),
        nn.Conv2d(4, 8, 3, bias=False),
        nn.Conv2d(4, 8, 3, groups=4, bias=False, padding="same"),
        nn.ConvTranspose2d(4, 8, 3, stride=2, bias=False),
    ],
    ids=["bias", "no bias", "depthwise, same", "transposed"],
)
@pytest.mark.parametrize("affine", [True, False])
def test_folds_into_the_layer_before(layer: nn.Module, affine: bool) -> None:
    module = captured(nn.Sequential(layer, nn.BatchNorm2d(8, affine=affine)))
    before = module(INPUT)
    assert fold_batch_norms(module) == ("0",)
    module.recompile()
    assert "batch_norm" not in types(module)
    torch.testing.assert_close(module(INPUT), before, rtol=1e-4, atol=1e-5)


def test_folds_into_a_linear_layer() -> None:
    module = captured(nn.Sequential(nn.Flatten(), nn.Linear(4 * 81, 5, bias=False), nn.BatchNorm1d(5)))
    before = module(INPUT)
    assert fold_batch_norms(module) == ("1",)
    module.recompile()
    torch.testing.assert_close(module(INPUT), before, rtol=1e-4, atol=1e-5)


class ReadTwice(nn.Module):
    """The convolution's output is needed as it is, too."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.norm = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.layer(x)
        return self.norm(y) + y


class SharedWeight(nn.Module):
    """One convolution, once with a batch norm behind it and once without."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.norm = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.layer(x)) + self.layer(x.relu())


@pytest.mark.parametrize(
    "network",
    [ReadTwice(), SharedWeight(), nn.Sequential(nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1))],
)
def test_stays_where_folding_would_change_the_answer(network: nn.Module) -> None:
    module = captured(network)
    before = module(INPUT)
    assert fold_batch_norms(module) == ()
    assert "batch_norm" in types(module)
    torch.testing.assert_close(module(INPUT), before)


class BareWeights(nn.Module):
    """Weights without biases that belong to one module, the root, which has a `bias` for something else."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(4, 4, 1, 1)), nn.Parameter(torch.randn(4, 1, 1))
        self.other_weight, self.third = (
            nn.Parameter(torch.randn(4, 4, 1, 1)),
            nn.Parameter(torch.randn(4, 4, 1, 1)),
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(4) for _ in range(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for weight, norm in zip((self.weight, self.other_weight, self.third), self.norms, strict=True):
            x = norm(nn.functional.conv2d(x, weight))
        return x + self.bias


def test_new_biases_take_no_name_that_is_in_use() -> None:
    module = captured(BareWeights())
    before = module(INPUT)
    assert len(fold_batch_norms(module)) == 3
    module.recompile()
    assert "batch_norm" not in types(module)
    assert {"bias", "bias_1", "other_bias", "third_bias"} <= dict(module.named_parameters()).keys()
    torch.testing.assert_close(module(INPUT), before, rtol=1e-4, atol=1e-4)


class InPlace(nn.Module):
    """What reads the sum after the ReLU sees what the ReLU wrote, whatever variable it reads."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(4, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.layer(x)
        y += x
        torch.relu_(y)
        return y * 2 - y.mean((2, 3), keepdim=True)


def test_in_place_operators_get_their_twins() -> None:
    module = captured(InPlace())
    before = module(INPUT)
    make_functional(module)
    module.recompile()
    assert not any(name.endswith("_") for name in types(module))
    torch.testing.assert_close(module(INPUT), before, rtol=0, atol=0)


class IntoView(nn.Module):
    """Writing into half of a tensor changes the whole one, which is read afterwards."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(4, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.layer(x)
        torch.relu_(y[:, :2])
        return y * 2


def test_writing_into_a_view_is_refused() -> None:
    with pytest.raises(UnsupportedModel, match="relu_ changes its input in place"):
        make_functional(captured(IntoView()))


class ConstantInForward(nn.Module):
    """torch.tensor() in a forward: captured as a constant, a copy of it, and a detach in place."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        offset = torch.tensor([1.0, 2.0, 3.0, 4.0]).view(4, 1, 1)
        offset += 1
        return x.detach() * offset


def test_copies_of_constants_and_aliases_are_left_out() -> None:
    module = captured(ConstantInForward())
    for _ in range(2):
        before = module(INPUT)
    make_functional(module)
    module.recompile()
    assert types(module) == ["view", "add", "mul"]
    torch.testing.assert_close(module(INPUT), before, rtol=0, atol=0)


@pytest.mark.parametrize("features", [5, 9], ids=["other size", "same size"])
def test_a_batch_norm_over_tokens_stays(features: int) -> None:
    """The linear layer's outputs are the last axis, the channels of the batch norm the second."""
    module = captured(nn.Sequential(nn.Flatten(2), nn.Linear(81, features), nn.BatchNorm1d(4)))
    assert fold_batch_norms(module) == ()
