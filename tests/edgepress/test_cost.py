from __future__ import annotations

import pytest
import torch
from torch import nn

from edgepress import cost
from edgepress.graph import DEQUANTIZE, DEQUANTIZE_CHANNELS, QUANTIZE
from edgepress.program import Program


def captured(network: nn.Module, *shape: int) -> Program:
    return Program.capture(network, (torch.randn(2, *shape),))


def only(measured: cost.Cost, type: str) -> cost.LayerCost:
    (layer,) = (layer for layer in measured.layers if layer.type == type)
    return layer


class Twice(nn.Module):
    """One layer called twice, and a second layer that shares its weight."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(8, 8)
        self.tied = nn.Linear(8, 8)
        self.tied.weight = self.first.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.tied(self.first(self.first(x)))


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.memory = nn.LSTM(4, 6, batch_first=True)
        self.head = nn.Linear(6, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.memory(x)[0][:, -1])


class Distances(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.points = nn.Parameter(torch.randn(5, 4))
        self.head = nn.Linear(5, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.cdist(x, self.points))


class Normalised(nn.Module):
    """A weight made of other parameters in the forward pass, from nothing that depends on the input."""

    def __init__(self) -> None:
        super().__init__()
        self.direction = nn.Parameter(torch.randn(5, 4))
        self.length = nn.Parameter(torch.ones(5, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weight = self.length * self.direction / self.direction.norm(dim=1, keepdim=True)
        return nn.functional.linear(x, weight)


class Quantized(nn.Module):
    """A convolution with 8-bit weights between quantized tensors, as a quantized Program holds it."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Module()
        self.layer.register_buffer("weight", torch.randint(-127, 128, (6, 3, 3, 3), dtype=torch.int8))
        self.layer.register_buffer("weight_scale", torch.full((6,), 0.01))
        self.layer.register_buffer("weight_zero_point", torch.zeros(6, dtype=torch.int64))
        self.layer.bias = nn.Parameter(torch.zeros(6))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        layer = self.layer
        weight = DEQUANTIZE_CHANNELS(
            layer.weight, layer.weight_scale, layer.weight_zero_point, 0, -127, 127, torch.int8
        )
        x = self.quantized(x)
        x = torch.relu(nn.functional.conv2d(x, weight, layer.bias, padding=1))
        return self.quantized(x)

    def quantized(self, x: torch.Tensor) -> torch.Tensor:
        limits = (0.05, 0, -128, 127, torch.int8)
        return DEQUANTIZE(QUANTIZE(x, *limits), *limits)


def test_pointwise_convolution_accesses_what_guideline_one_says() -> None:
    """Ma et al. (2018), section 2: hw(c1 + c2) + c1 c2."""
    layer = only(cost.measure(captured(nn.Conv2d(5, 7, 1, bias=False), 5, 6, 4)), "conv2d")
    assert layer.accessed_elements == 6 * 4 * (5 + 7) + 5 * 7
    assert layer.accessed_bytes == 4 * layer.accessed_elements
    assert layer.output_shape == (1, 7, 6, 4)


def test_batch_norm_and_activation_run_inside_of_the_layer() -> None:
    network = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU6(), nn.Hardswish())
    measured = cost.measure(captured(network, 3, 8, 8))
    assert [layer.name for layer in measured.layers] == ["0", "1", "3"]
    layer, norm, hardswish = measured.layers
    assert layer.accessed_elements == 3 * 64 + 6 * 36 + layer.parameters
    assert (norm.parameters, norm.weight_bytes, norm.accessed_elements) == (12, 4 * 24, 0)
    assert hardswish.accessed_elements == 2 * 6 * 36


def test_batch_norm_in_front_moves_data() -> None:
    measured = cost.measure(captured(nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 6, 3)), 3, 8, 8))
    assert measured.layers[0].accessed_elements == 2 * 3 * 64 + 6


def test_shared_weights_count_once_and_their_work_each_time() -> None:
    measured = cost.measure(captured(Twice(), 8))
    assert measured.parameters == 64 + 8 + 8
    assert measured.weight_bytes == 4 * measured.parameters
    assert measured.macs == 3 * 64
    assert [layer.parameters for layer in measured.layers] == [72, 0, 8]


def test_what_cannot_be_counted_is_listed_and_not_free() -> None:
    measured = cost.measure(captured(Distances(), 6, 4))
    (layer,) = measured.uncounted
    assert (layer.name, layer.type, layer.macs) == ("cdist", "cdist", None)
    assert layer.parameters == 5 * 4
    assert measured.macs == 6 * 5 * 2


def test_a_recurrent_layer_multiplies_by_its_matrices_once_a_step() -> None:
    measured = cost.measure(captured(Recurrent(), 5, 4))
    memory, head = (layer for layer in measured.layers if layer.macs)
    assert (memory.type, memory.macs) == ("lstm", 5 * 4 * 6 * (4 + 6))
    assert memory.parameters == 4 * 6 * (4 + 6 + 2)
    assert head.macs == 6 * 2


def test_weights_made_of_weights_belong_to_the_layer_and_cost_nothing_to_make() -> None:
    measured = cost.measure(captured(Normalised(), 4))
    (layer,) = measured.layers
    assert (layer.type, layer.parameters, layer.macs) == ("linear", 25, 20)


def test_quantized_tensors_count_as_8_bit() -> None:
    measured = cost.measure(captured(Quantized(), 3, 8, 8))
    (layer,) = measured.layers
    assert layer.name == "layer"
    assert layer.parameters == 6 * 27 + 6
    assert layer.weight_bytes == 6 * 27 + 4 * 6 + 4 * 6 + 8 * 6, "weight, bias, scales, zero points"
    assert layer.macs == 64 * 6 * 27
    assert layer.accessed_bytes == 3 * 64 + 6 * 64 + 6 * 27 + 4 * 6
    assert measured.peak_activation_bytes == 3 * 64 + 6 * 64


def test_zeros_are_counted_where_the_parameters_are() -> None:
    network = Twice()
    with torch.no_grad():
        network.first.weight[:3] = 0
        network.first.bias.zero_()
    measured = cost.measure(captured(network, 8))
    assert [layer.nonzero for layer in measured.layers] == [40, 0, 8], "a shared weight counts once"
    assert measured.nonzero == 48
    quantized = Quantized()
    quantized.layer.weight[:2] = 0
    (layer,) = cost.measure(captured(quantized, 3, 8, 8)).layers
    assert layer.nonzero == int(quantized.layer.weight.count_nonzero()) <= 4 * 27, "its bias is zero"


def test_sums_are_those_of_the_layers() -> None:
    measured = cost.measure(
        captured(nn.Sequential(nn.Conv2d(3, 6, 3), nn.Flatten(), nn.Linear(216, 4)), 3, 8, 8)
    )
    for name in ("parameters", "nonzero", "macs", "weight_bytes", "accessed_elements", "accessed_bytes"):
        assert getattr(measured, name) == sum(getattr(layer, name) for layer in measured.layers) > 0


def test_an_edited_graph_is_measured_as_the_program_is() -> None:
    program = captured(nn.Conv2d(3, 6, 3), 3, 8, 8)
    assert cost.measure(program.graph_module()) == cost.measure(program)


def test_measuring_leaves_the_program_alone() -> None:
    program = captured(nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU()), 3, 8, 8)
    inputs = torch.randn(1, 3, 8, 8).numpy()
    (before,) = program.run(inputs)
    cost.measure(program)
    (after,) = program.run(inputs)
    assert (before == after).all()


@pytest.mark.parametrize("operator", [torch.fft.fft, torch.linalg.inv, torch.cumprod])
def test_unknown_operators_are_never_free(operator: object) -> None:
    class Unknown(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            arguments = (1,) if operator is torch.cumprod else ()
            return operator(x, *arguments)

    assert len(cost.measure(captured(Unknown(), 4, 4)).uncounted) == 1
