"""int8 weights: scales, headroom against int16 saturation, bias limits, and the mean that rounding adds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from edgepress import compress, convert, runtime
from edgepress.compress._quantization.ranges import Range
from edgepress.compress._quantization.weights import WeightOptions, bias_shift, quantize_weight
from edgepress.compress.quantize_static import QuantizeStatic
from edgepress.data._arrays import ArrayData
from edgepress.program import Program
from edgepress.recipe import Recipe

SIGNED, POSITIVE = Range(-1.0, 1.0), Range(0.0, 1.0)


def restored(values: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
    return values * scales.view(-1, *[1] * (values.dim() - 1))


@pytest.mark.parametrize("shape", [(8, 5, 3, 3), (8, 1, 3, 3), (8, 20)])
def test_rounds_to_half_a_step_with_the_largest_at_127(shape: tuple[int, ...]) -> None:
    weight = torch.randn(shape)
    made = quantize_weight(weight, None, POSITIVE, WeightOptions())
    assert made.values.dtype == torch.int8
    assert made.values.flatten(1).abs().amax(1).eq(127).all()
    error = (restored(made.values, made.scales) - weight).flatten(1).abs().amax(1)
    assert (error <= 0.5001 * made.scales).all()


@pytest.mark.parametrize(("inputs", "headroom", "kept"), [
    (SIGNED, "auto", True), (POSITIVE, "auto", False), (Range(-1.0, 1.0, low_half=True), "auto", False), (POSITIVE, "all", True), (SIGNED, "none", False),
])  # fmt: skip
def test_neighbours_keep_headroom_where_asked(inputs: Range, headroom: str, kept: bool) -> None:
    weight = torch.rand(8, 6, 3, 3) + 0.5
    made = quantize_weight(weight, None, inputs, WeightOptions(headroom=headroom))
    rows = made.values.int().movedim(1, -1).flatten(1)
    pairs = rows.unflatten(1, (-1, 2)).sum(2)
    assert bool((pairs.abs() <= 128).all()) is kept


def test_per_tensor_has_one_scale() -> None:
    weight = torch.randn(8, 5, 3, 3) * torch.arange(1, 9).view(-1, 1, 1, 1)
    made = quantize_weight(weight, None, POSITIVE, WeightOptions("per_tensor"))
    assert len(made.scales) == 8
    assert len(made.scales.unique()) == 1


def test_dead_channels_take_the_largest_scale() -> None:
    weight = torch.randn(4, 5)
    weight[1] = 0
    made = quantize_weight(weight, None, POSITIVE, WeightOptions())
    assert made.scales[1] == made.scales.max()
    assert not made.values[1].any()
    assert quantize_weight(torch.zeros(4, 5), None, POSITIVE, WeightOptions()).scales.min() > 0


def test_a_scale_grows_until_the_bias_fits_int32() -> None:
    weight, bias = torch.full((2, 5), 1e-9), torch.tensor([5.0, 0.0])
    made = quantize_weight(weight, bias, Range(0.0, 1e-3), WeightOptions())
    steps = bias / (Range(0.0, 1e-3).scale * made.scales)
    assert steps.max() <= 2**30 * 1.001
    assert made.values[1].eq(127).all()


@pytest.mark.parametrize(("layer", "shape"), [
    (nn.Conv2d(6, 8, 1), (16, 6, 5, 5)), (nn.Conv2d(6, 12, 1, groups=3), (16, 6, 5, 5)), (nn.Linear(6, 8), (16, 6)),
])  # fmt: skip
def test_the_shift_is_what_the_outputs_move_by(layer: nn.Module, shape: tuple[int, ...]) -> None:
    inputs = torch.rand(shape).double() + 1
    weight = layer.weight.detach()
    made = quantize_weight(weight, None, POSITIVE, WeightOptions("per_tensor"))
    with torch.no_grad():
        layer.double()
        before = layer(inputs)
        layer.weight.copy_(restored(made.values, made.scales.double()))
        moved = (layer(inputs) - before).movedim(1, 0).flatten(1).mean(1)
    means = inputs.movedim(1, 0).flatten(1).mean(1)
    torch.testing.assert_close(bias_shift(weight.float(), made, means), moved, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("layer", [nn.Conv2d(3, 8, 7), nn.Conv2d(8, 8, 3), nn.Conv2d(8, 8, 3, groups=8)])
@pytest.mark.parametrize("hidden", [False, True], ids=["network input", "hidden"])
def test_onnxruntime_does_not_saturate_where_headroom_is_kept(
    layer: nn.Conv2d, hidden: bool, tmp_path: Path
) -> None:
    """The worst case: all weights of a filter as large as they go, and inputs at the end of their range."""
    with torch.no_grad():
        layer.weight.copy_(
            torch.sign(torch.randn(len(layer.weight))).view(-1, 1, 1, 1).expand_as(layer.weight)
        )
    same = nn.Conv2d(layer.in_channels, layer.in_channels, 1, bias=False)
    nn.init.dirac_(same.weight)
    network = nn.Sequential(same, layer) if hidden else layer
    program = Program.capture(network, (torch.zeros(2, layer.in_channels, 9, 9),))
    pictures = np.ones((4, layer.in_channels, 9, 9), np.float32)
    pictures[2:] = -1

    recipe = Recipe((QuantizeStatic(calibration="minmax"),))
    result = compress.apply(program, recipe, ArrayData(pictures))
    with runtime.open(convert.to(result, "onnx", tmp_path / "model.onnx")) as runner:
        np.testing.assert_allclose(runner.run(pictures)[0], result.run(pictures)[0], rtol=0.02)
