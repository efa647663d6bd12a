"""What every quantizing stage says of data and networks that it cannot take."""

from __future__ import annotations

import numpy as np
import pytest
import tiny_networks
import torch
from torch import nn

from edgepress import compress
from edgepress.compress.mixed_precision import MixedPrecision
from edgepress.compress.quantize_dynamic import QuantizeDynamic
from edgepress.compress.quantize_static import QuantizeStatic
from edgepress.compress.quantize_weights import QuantizeWeights
from edgepress.errors import BadInput, UnsupportedModel
from edgepress.program import Program
from edgepress.recipe import Recipe
from edgepress.stage import Stage

STATIC = QuantizeStatic(samples=32)
STAGES = [STATIC, QuantizeWeights(samples=32), QuantizeDynamic(samples=32)]
STAGES += [MixedPrecision(weight_bytes=0.5, samples=8, quantize=STATIC)]


@pytest.fixture(params=STAGES, ids=lambda stage: stage.name())
def stage(request: pytest.FixtureRequest) -> Stage:
    return request.param


def applied(program: Program, stage: Stage, data: tiny_networks.Patches) -> Program:
    return compress.apply(program, Recipe((stage,)), data)


def program() -> Program:
    return tiny_networks.capture(tiny_networks.Separable)


def test_an_empty_calibration_set(stage: Stage) -> None:
    with pytest.raises(BadInput, match="nothing to calibrate with"):
        applied(program(), stage, tiny_networks.Patches(0))


def test_nan_in_a_sample_which_is_named(stage: Stage) -> None:
    data = tiny_networks.Patches(32)
    data.pictures[5, 0, 0, 0] = np.nan
    with pytest.raises(BadInput, match="NaN") as refused:
        applied(program(), stage, data)
    assert "sample 5" in refused.value.where


def test_samples_of_another_shape(stage: Stage) -> None:
    data = tiny_networks.Patches(32)
    data.pictures = data.pictures[:, :, :8]
    with pytest.raises(BadInput, match="takes float32 Nx3x16x16"):
        applied(program(), stage, data)


def test_a_dead_channel_and_a_constant_input(stage: Stage) -> None:
    """Neither divides by zero: what is always zero stays zero, what is always one value keeps it."""
    original, data = program(), tiny_networks.Patches(32)
    original.exported.state_dict["project.0.weight"].data[2] = 0.0
    data.pictures[:, 1] = 0.0
    data.pictures[:, 2] = 0.7
    made = applied(original, stage, data)
    got, expected = (network.run(data.pictures)[0] for network in (made, original))
    assert np.isfinite(got).all()
    assert np.square(got - expected).sum() < 0.05 * np.square(expected).sum()  # 13 dB: seen 25 and more


def test_a_network_already_quantized_with_the_way_out(stage: Stage) -> None:
    made = applied(program(), QuantizeWeights(rounding="nearest"), tiny_networks.Patches(32))
    with pytest.raises(UnsupportedModel, match="already is|before the quantization") as refused:
        applied(made, stage, tiny_networks.Patches(32))
    assert "float network" in refused.value.hint


def test_an_operator_without_integers_stays_in_float_and_is_reported() -> None:
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Conv2d(3, 8, 3), nn.GELU(), nn.Conv2d(8, 4, 3))
    original = Program.capture(layers, (torch.zeros(2, 3, tiny_networks.SIZE, tiny_networks.SIZE),))
    made = applied(original, STATIC, tiny_networks.Patches(32))
    (left,) = made.history.steps[-1].results["left_in_float"]
    assert left == {"layer": "1", "type": "gelu", "reason": "no int8 form of this operator is known"}
