"""Equalization leaves the network's function as it is, through everything that is homogeneous, and evens ranges out."""

from __future__ import annotations

import numpy as np
import pytest
import tiny_networks
import torch
from torch import nn

from edgepress import compress
from edgepress.compress.equalize import Equalize
from edgepress.compress.quantize_static import QuantizeStatic
from edgepress.data._arrays import ArrayData
from edgepress.errors import UnsupportedModel
from edgepress.program import Program
from edgepress.recipe import Recipe


def noise(*shape: int) -> ArrayData:
    """Standard normal pictures of a shape."""
    return ArrayData(np.random.default_rng(0).standard_normal((16, *shape)).astype(np.float32))


def capture(network: nn.Module, *shape: int) -> Program:
    return Program.capture(network, (torch.zeros(2, *(shape or (3, 8, 8))),))


def equalized(program: Program, data: ArrayData | None = None, **options: object) -> Program:
    return compress.apply(program, Recipe((Equalize(**options),)), data)


def uneven(network: nn.Module) -> nn.Module:
    """Every layer's outputs of very different sizes, and none of them dead."""
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            with torch.no_grad():
                spread = torch.logspace(-1, 1, len(module.weight))[torch.randperm(len(module.weight))]
                module.weight *= spread.view(-1, *[1] * (module.weight.dim() - 1))
                module.bias.copy_(0.5 * spread)
    return network


class Fire(nn.Module):
    """Two readers, a concatenation, pooling, a sum, a flattening: one class of channels at each."""

    def __init__(self) -> None:
        super().__init__()
        self.squeeze, self.left, self.right = (
            nn.Conv2d(3, 6, 1),
            nn.Conv2d(6, 5, 1),
            nn.Conv2d(6, 5, 3, padding=1),
        )
        self.same, self.head = nn.Conv2d(10, 10, 1), nn.Linear(40, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.squeeze(x).relu()
        x = torch.cat([self.left(x).relu(), self.right(x).relu()], 1)
        x = nn.functional.max_pool2d(x, 2)
        x = nn.functional.avg_pool2d((x + self.same(x)).relu(), 2)
        return self.head(x.flatten(1))


def depthwise(activation: type[nn.Module]) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 1), activation(), nn.Conv2d(8, 8, 3, groups=8, padding=1), activation(), nn.Conv2d(8, 4, 1)
    )  # fmt: skip


@pytest.mark.parametrize("by", ["activations", "weights"])
@pytest.mark.parametrize("network", [Fire(), depthwise(nn.ReLU)], ids=["fire", "depthwise"])
def test_the_function_stays_and_every_hidden_channel_has_a_factor(network: nn.Module, by: str) -> None:
    program, data = capture(uneven(network)), noise(3, 8, 8)
    result = equalized(program, data if by == "activations" else None, by=by)
    before, after = program.run(data.inputs[0])[0], result.run(data.inputs[0])[0]
    # Each weight is rounded once more to float32.
    np.testing.assert_allclose(after, before, rtol=1e-5, atol=1e-5 * np.abs(before).max())
    results = result.history.steps[-1].results
    assert results["equalized"] == results["channels"] - 4, "all but the network's outputs"
    assert results["largest_factor"] > 1.5


def test_whole_strength_makes_what_layers_read_equally_large() -> None:
    program, data = capture(uneven(Fire())), noise(3, 8, 8)
    weights = equalized(program, data, strength=1.0).exported.state_dict
    made = torch.nn.functional.conv2d(
        torch.from_numpy(data.inputs[0]), weights["squeeze.weight"], weights["squeeze.bias"]
    )
    largest = made.relu().amax((0, 2, 3))
    torch.testing.assert_close(largest, largest[:1].expand(6), rtol=1e-4, atol=0)


def test_a_relu6_is_kept_exact_unless_it_may_become_a_relu() -> None:
    program, data = capture(uneven(depthwise(nn.ReLU6))), noise(3, 8, 8)
    kept = equalized(program, data)
    np.testing.assert_array_equal(kept.run(data.inputs[0])[0], program.run(data.inputs[0])[0])
    reasons = kept.history.steps[-1].results["as_they_are"]
    assert "relu6" in reasons["0"] or "hardtanh" in reasons["0"]
    replaced = equalized(program, data, relu6="relu").history.steps[-1].results
    assert len(replaced["relu6_replaced"]) == 2
    assert replaced["equalized"] == 16


@pytest.mark.parametrize("between", [
    nn.Sigmoid(), nn.Hardswish(), nn.Softmax(1), nn.GroupNorm(2, 8), nn.PReLU(8), nn.BatchNorm2d(8, affine=False),
], ids=lambda module: type(module).__name__)  # fmt: skip
def test_what_is_not_homogeneous_stops_a_factor(between: nn.Module) -> None:
    network = uneven(nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU(), between, nn.Conv2d(8, 4, 1))).eval()
    program, data = capture(network), noise(3, 8, 8)
    result = equalized(program, data)
    before = program.run(data.inputs[0])[0]
    np.testing.assert_allclose(result.run(data.inputs[0])[0], before, atol=1e-5 * np.abs(before).max())
    assert result.history.steps[-1].results["equalized"] == 0


class Awkward(nn.Module):
    """A number is added, a gate multiplies, a weight is used twice, and groups read channels."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.gate, self.twice = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1)
        self.grouped, self.head = nn.Conv2d(8, 8, 1, groups=2), nn.Conv2d(8, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x).relu() + 1.0
        x = x * self.gate(x).relu()
        x = self.twice(self.twice(x).relu()).relu()
        return self.head(self.grouped(x).relu())


def test_awkward_ways_of_a_channel_keep_the_function() -> None:
    program, data = capture(uneven(Awkward())), noise(3, 8, 8)
    before = program.run(data.inputs[0])[0]
    after = equalized(program, data).run(data.inputs[0])[0]
    np.testing.assert_allclose(after, before, atol=1e-5 * np.abs(before).max())


def test_dead_channels_keep_their_factor() -> None:
    network = uneven(Fire())
    with torch.no_grad():
        network.squeeze.weight[2] = network.squeeze.bias[2] = 0
    program, data = capture(network), noise(3, 8, 8)
    result = equalized(program, data)
    assert result.history.steps[-1].results["equalized"] == 6 - 1 + 10, "a sum has one factor for both sides"
    assert np.isfinite(result.run(data.inputs[0])[0]).all()


def test_uneven_channels_lose_less_to_int8_when_made_alike() -> None:
    program, data = capture(uneven(depthwise(nn.ReLU))), noise(3, 8, 8)
    expected = program.run(data.inputs[0])[0]
    plain, even = (
        compress.apply(program, Recipe((*before, QuantizeStatic(rounding="nearest"))), data)
        for before in ((), (Equalize(),))
    )
    errors = [np.square(one.run(data.inputs[0])[0] - expected).mean() for one in (plain, even)]
    # The channels' sizes are a hundredfold apart: half of that in decibels comes back, and more than 3 dB in any case.
    assert errors[1] < 0.5 * errors[0]


def test_a_quantized_network_is_refused() -> None:
    program, data = tiny_networks.capture(tiny_networks.Residual), tiny_networks.Patches()
    quantized = compress.apply(program, Recipe((QuantizeStatic(rounding="nearest"),)), data)
    with pytest.raises(UnsupportedModel, match="not on a quantized network"):
        equalized(quantized, data)
