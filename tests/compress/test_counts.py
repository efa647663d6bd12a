"""Networks of few bits give the same on every runtime: biases in whole steps, and bits that are counted, not rounded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tiny_networks
import torch

from edgepress import compress, convert, runtime
from edgepress.compress._low_bit.counts import LARGEST_COUNT, bias_in_steps, counted
from edgepress.compress._quantization.weights import QuantizedWeight
from edgepress.compress.binarize import Binarize
from edgepress.program import Program
from edgepress.recipe import Recipe

READ, GIVEN = 0.37, 0.9


def layer(scales: list[float]) -> QuantizedWeight:
    generator = torch.Generator().manual_seed(0)
    values = torch.randint(0, 2, (len(scales), 5), generator=generator) * 2 - 1
    return QuantizedWeight(values.to(torch.int8), torch.tensor(scales), 1)


def test_a_counted_bit_is_the_one_that_the_real_numbers_have() -> None:
    """For every sum there can be, in exact arithmetic; scales that vanish and biases beyond all sums included."""
    made = layer([0.21, 0.8, 2.0, 1e-18, 0.5, 0.5])
    bias = torch.tensor([0.3, -0.2, 1.1, 0.2, 50.0, -50.0])
    found = counted(made, bias, READ, 3, GIVEN)
    assert found is not None
    new, shift = found
    sums = torch.arange(-15, 16).double()  # five weights of one, times at most three
    for channel in range(len(bias)):
        real = sums * READ * made.scales[channel].double() + bias[channel]
        steps = (sums * READ * new.scales[channel].double() + shift[channel]) / GIVEN
        # float32's own rounding of scale and bias, times 16 steps.
        torch.testing.assert_close(steps, steps.round(), atol=1e-5, rtol=0)
        assert torch.equal(steps.round().clamp(0, 1), (real > GIVEN / 2).double())


def test_sums_that_float32_cannot_hold_are_left_alone() -> None:
    assert counted(layer([0.5]), torch.zeros(1), READ, LARGEST_COUNT, GIVEN) is None


def test_a_bias_becomes_the_whole_number_of_steps_that_is_nearest() -> None:
    made, bias = layer([0.5, 2.0]), torch.tensor([0.55, -1.0])
    torch.testing.assert_close(bias_in_steps(made, bias, 0.4), torch.tensor([0.6, -0.8]))


@pytest.fixture(scope="module")
def binary() -> Program:
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 16, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(16, 16, 3, padding=1), torch.nn.ReLU(),
        torch.nn.Conv2d(16, 16, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(16, 16, 3, padding=1), torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(16, 4),
    )  # fmt: skip
    program = Program.capture(network, (torch.zeros(2, 3, 16, 16),))
    stage = Binarize(activation_bits=1, method="bi_real", epochs=1, samples=64, batch_size=32)
    return compress.apply(program, Recipe((stage,)), tiny_networks.Patches(64))


@pytest.mark.parametrize("format", ["onnx", pytest.param("tflite", marks=pytest.mark.tflite)])
def test_weights_and_activations_of_one_bit_give_on_a_runtime_what_the_program_gives(
    binary: Program, format: str, tmp_path: Path
) -> None:
    """Bit for bit: a bias that a runtime rounds, or a kernel that rounds twice, leaves 40 dB of this small network, and 4 of a ResNet-20."""
    if format == "tflite":
        pytest.importorskip("ai_edge_litert")
    inputs = np.random.default_rng(0).random((32, 3, 16, 16), dtype=np.float32)
    with runtime.open(convert.to(binary, format, tmp_path / f"model.{format}")) as runner:
        assert runtime.compare(binary.run, runner.run, [(inputs,)]).sqnr_db > 60
