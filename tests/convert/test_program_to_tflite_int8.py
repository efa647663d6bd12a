"""Quantized networks as TFLite files: the integers against PyTorch's own quantized graph."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import shared_data
import torch
import torch.nn.functional as F
from tflite_files import IMAGE, network, operations, output_step, quantized, steps_apart
from torch import Tensor, nn

from edgepress import convert, graph, runtime
from edgepress.artifact import Artifact
from edgepress.compress.quantize_static import QuantizeStatic
from edgepress.convert._tflite import lowered
from edgepress.errors import BadOption
from edgepress.models import mobilenet_v2, shufflenet, squeezenet
from edgepress.program import Program
from edgepress.stage import Context

pytestmark = pytest.mark.tflite
pytest.importorskip("ai_edge_litert")

RARELY = 0.02
"""LiteRT multiplies by a fixed-point number and PyTorch by a float: they round differently where a value lies
on the border between two steps. Measured: 0.3 % of the entries of a layer, 1.2 % in the smallest, by one step."""

LAYERS = {
    "convolution": nn.Conv2d(4, 6, 3),
    "same": nn.Conv2d(4, 6, 3, padding=1, bias=False),
    "stride": nn.Conv2d(4, 6, 3, stride=2, padding=1),
    "dilated": nn.Conv2d(4, 6, 3, dilation=2, padding=2),
    "pointwise": nn.Conv2d(4, 6, 1),
    "depthwise": nn.Conv2d(4, 4, 3, padding=1, groups=4),
    "depthwise_stride": nn.Conv2d(4, 4, 3, stride=2, padding=1, groups=4),
    "depthwise_multiplied": nn.Conv2d(4, 12, 3, padding=1, groups=4),
    "grouped": nn.Conv2d(4, 6, 3, padding=1, groups=2),
    "linear": nn.Linear(12, 7),
    "transposed": nn.ConvTranspose2d(4, 6, 4, stride=2, padding=1),
    "transposed_cut": nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1, bias=False),
    "transposed_dilated": nn.ConvTranspose2d(4, 6, 2, dilation=2),
    "along_one_axis": nn.Conv1d(4, 6, 3, stride=2, padding=1),
}
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "nothing": lambda x: x, "relu": F.relu, "relu6": F.relu6, "hardtanh": F.hardtanh,
    "clamp": lambda x: x.clamp(-0.3, 0.4),
}  # fmt: skip


def int8(
    module: nn.Module, folder: Path, shape: tuple[int, ...] = IMAGE, **options: object
) -> tuple[Program, Artifact]:
    """The network quantized, and its file with integers at both ends."""
    program = quantized(Program.capture(module, (torch.randn(2, *shape),)))
    return program, convert.to(program, "tflite", folder / "int8.tflite", {"io": "int8", **options})


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("name", LAYERS)
def test_layers(name: str, activation: str, tmp_path: Path) -> None:
    function, layer = ACTIVATIONS[activation], LAYERS[name]
    shape = IMAGE[:2] if isinstance(layer, nn.Conv1d) else IMAGE
    program, artifact = int8(network(lambda x, layer: function(layer(x)), layer), tmp_path, shape)
    apart = steps_apart(program, artifact)
    assert apart.max() < 1.01
    assert np.mean(apart > 0.5) < RARELY
    assert not {"QUANTIZE", "DEQUANTIZE"} & set(operations(artifact))


COMPUTING: dict[str, Callable[[Tensor], Tensor]] = {
    "add": lambda x: x + x[:, :1], "add_relu": lambda x: F.relu(x + x[:, :1]), "subtract": lambda x: x - x[:, :1],
    "multiply": lambda x: x * x[:, :1], "squeeze_excite": lambda x: x * F.hardsigmoid(x.mean((2, 3), keepdim=True)),
    "mean": lambda x: x.mean((2, 3)), "global": lambda x: F.adaptive_avg_pool2d(x, 1), "silu": F.silu,
    "sigmoid": torch.sigmoid, "tanh": torch.tanh, "hardswish": F.hardswish, "hardsigmoid": F.hardsigmoid,
    "leaky_relu": lambda x: F.leaky_relu(x, 0.2), "avg": lambda x: F.avg_pool2d(x, 3, 2),
    "avg_padded": lambda x: F.avg_pool2d(x, 3, 2, 1), "avg_even": lambda x: F.avg_pool2d(x, 2),
    "avg_even_padded": lambda x: F.avg_pool2d(x, (2, 3), 2, 1), "avg_cells": lambda x: F.adaptive_avg_pool2d(x, (3, 4)),
}  # fmt: skip
MOVING: dict[str, Callable[[Tensor], Tensor]] = {
    "max": lambda x: F.max_pool2d(x, 2), "max_padded": lambda x: F.max_pool2d(x, 3, 2, 1),
    "max_ceil": lambda x: F.max_pool2d(x, 3, 2, ceil_mode=True), "pad": lambda x: F.pad(x, (1, 2, 0, 1)),
    "pad_channels": lambda x: F.pad(x, (0, 0, 0, 0, 1, 3)), "flatten": lambda x: x.flatten(1),
    "tokens": lambda x: x.flatten(2).transpose(1, 2), "chunk": lambda x: torch.cat(x.chunk(2, 1)[::-1], 1),
    "split": lambda x: x.split([1, 3], 1)[1], "slice": lambda x: x[:, 1:3, ::2, -4:], "select": lambda x: x[:, 2],
    "permute": lambda x: x.permute(0, 2, 3, 1), "nearest": lambda x: F.interpolate(x, scale_factor=2.0),
    "nearest_fraction": lambda x: F.interpolate(x, scale_factor=0.7),
    "shuffle": lambda x: F.channel_shuffle(x, 2),
    "shuffle_spelt": lambda x: x.view(x.size(0), 2, 2, 9, 12).transpose(1, 2).reshape(x.size(0), 4, 9, 12),
}  # fmt: skip


@pytest.mark.parametrize("name", [*COMPUTING, *MOVING])
def test_operators_behind_a_layer(name: str, tmp_path: Path) -> None:
    """The layer's rounding goes on through the operator, which rounds once more (or twice, where it is two operations)."""
    function = COMPUTING[name] if name in COMPUTING else MOVING[name]
    program, artifact = int8(network(lambda x, layer: function(layer(x)), nn.Conv2d(4, 4, 1)), tmp_path)
    apart = steps_apart(program, artifact)
    assert apart.max() < (3.01 if name in COMPUTING else 1.01)
    assert np.mean(apart > 0.5) < (0.1 if name in COMPUTING else RARELY)
    assert not {"QUANTIZE", "DEQUANTIZE"} & set(operations(artifact))


def test_averages_of_fewer_entries_are_as_precise_as_others(tmp_path: Path) -> None:
    """At the corner a window holds one entry of nine: a rounded ninth, times nine, would be some steps off."""

    def average(x: Tensor, layer: nn.Module) -> Tensor:
        return F.avg_pool2d(layer(x), 3, 2, 1, ceil_mode=True, count_include_pad=False)

    assert steps_apart(*int8(network(average, nn.Conv2d(4, 4, 1)), tmp_path)).max() < 1.01


def test_float_ends_are_converted_inside_the_file(tmp_path: Path) -> None:
    module = network(lambda x, layer: layer(x), nn.Conv2d(4, 6, 3))
    program, artifact = int8(module, tmp_path, io="float32")
    assert operations(artifact) == ["QUANTIZE", "CONV_2D", "DEQUANTIZE"]
    assert steps_apart(program, artifact).max() < 1.01
    assert artifact.manifest.precision == "int8"


def test_a_layer_left_in_float_stands_between_conversions(tmp_path: Path) -> None:
    def mixed(x: Tensor, first: nn.Module, second: nn.Module) -> Tensor:
        return second(torch.cos(first(x)))

    program, artifact = int8(network(mixed, nn.Conv2d(4, 6, 1), nn.Conv2d(6, 4, 1)), tmp_path)
    assert operations(artifact) == ["CONV_2D", "DEQUANTIZE", "COS", "QUANTIZE", "CONV_2D"]
    quality = artifact.manifest.quality
    assert (quality["conversions"], quality["float_operations"]) == (2, 1)
    assert steps_apart(program, artifact).max() < 2.01


def test_linear_layers_take_the_file_order_of_flattened_integers(tmp_path: Path) -> None:
    module = network(
        lambda x, first, head: head(F.relu(first(x)).flatten(1)), nn.Conv2d(4, 5, 3), nn.Linear(350, 6)
    )
    program, artifact = int8(module, tmp_path)
    assert operations(artifact) == ["CONV_2D", "RESHAPE", "FULLY_CONNECTED"]
    assert steps_apart(program, artifact).max() < 2.01


def test_half_weights_of_a_quantized_network_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadOption, match="float16"):
        int8(
            network(lambda x, layer: layer(x), nn.Conv2d(4, 6, 3)), tmp_path, weights="float16", io="float32"
        )


def with_pairs(module: nn.Module, codes: dict[str, tuple[float, int]]) -> Program:
    """The captured network with a pair of the given code behind each node named."""
    program = Program.capture(module, (torch.randn(2, *IMAGE),))
    graph_module = program.graph_module()
    for node in list(graph_module.graph.nodes):
        if node.name in codes:
            users = list(node.users)
            arguments = (*codes[node.name], -128, 127, torch.int8)
            with graph_module.graph.inserting_after(node):
                quantize = graph_module.graph.call_function(graph.QUANTIZE, (node, *arguments))
            with graph_module.graph.inserting_after(quantize):
                dequantize = graph_module.graph.call_function(graph.DEQUANTIZE, (quantize, *arguments))
            for user in users:
                user.replace_input_with(node, dequantize)
    return program.replace(graph_module)


def test_joined_tensors_of_different_scales_are_brought_to_one(tmp_path: Path) -> None:
    """Against the convention, so the values are requantized: up to one step more."""
    module = network(lambda x: torch.cat([torch.sigmoid(x), F.relu(x)], 1))
    codes = {"x": (0.04, 3), "sigmoid": (1 / 256, -128), "relu": (0.02, -128), "cat": (0.02, -128)}
    program = with_pairs(module, codes)
    artifact = convert.to(program, "tflite", tmp_path / "cat.tflite")
    assert steps_apart(program, artifact).max() < 1.01
    assert operations(artifact).count("QUANTIZE") == 3


def test_a_value_that_moves_without_a_pair_stays_int8(tmp_path: Path) -> None:
    module = network(lambda x: F.max_pool2d(x, 2).flatten(2).transpose(1, 2))
    program = with_pairs(module, {"x": (0.03, 0), "transpose": (0.03, 0)})
    artifact = convert.to(program, "tflite", tmp_path / "moves.tflite", {"io": "int8"})
    assert operations(artifact) == ["MAX_POOL_2D", "RESHAPE"]
    assert steps_apart(program, artifact).max() == 0


def test_a_sum_without_a_pair_is_a_float_sum(tmp_path: Path) -> None:
    program = with_pairs(network(lambda x: x + x * x), {"x": (0.03, 0), "mul": (0.1, -128)})
    artifact = convert.to(program, "tflite", tmp_path / "sum.tflite")
    inputs = program.signature.example(2)
    with runtime.open(artifact) as runner:
        apart = np.abs(runner.run(*inputs)[0] - program.run(*inputs)[0])
    assert apart.max() < 0.1 * 1.01
    assert operations(artifact) == ["QUANTIZE", "MUL", "DEQUANTIZE", "DEQUANTIZE", "ADD"]


def test_a_channel_without_weights_keeps_its_bias(tmp_path: Path) -> None:
    """A bias of 3 over a weight scale of almost 0 does not fit int32: the scale has to grow."""
    layer = nn.Conv2d(4, 6, 1)
    module = network(lambda x, layer: layer(x), layer)
    layer.weight.data[2] = 1e-12
    layer.bias.data[2] = 3.0
    program, artifact = int8(module, tmp_path)
    assert steps_apart(program, artifact).max() < 1.01
    with runtime.open(artifact) as runner:
        assert abs(runner.run(*program.signature.example(1))[0][:, 2] - 3).max() <= output_step(program)


def one_step_errors(program: Program, artifact: Artifact, picture: np.ndarray) -> list[np.ndarray]:
    """For every quantized tensor that the file has too: how many steps the file is from what PyTorch makes of the
    file's own integers. So errors do not add up, and a network that amplifies them is no excuse."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(
        str(artifact.path), experimental_preserve_all_tensors=True,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )  # fmt: skip
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], picture.transpose(0, 2, 3, 1))
    interpreter.invoke()
    errors = []

    def integers(wanted: np.ndarray, scale: float) -> np.ndarray | None:
        """The file's tensor of this scale and shape that is nearest to `wanted`."""
        found = [
            interpreter.get_tensor(detail["index"]) for detail in interpreter.get_tensor_details()
            if detail["dtype"] is np.int8 and detail["quantization"][0] == np.float32(scale)
        ]  # fmt: skip
        found = [array.transpose(0, 3, 1, 2) if array.ndim == 4 else array for array in found]
        fitting = [array for array in found if array.shape == wanted.shape]
        return min(fitting, key=lambda array: np.abs(array - wanted.astype(int)).mean(), default=None)

    class FromTheFile(torch.fx.Interpreter):
        def run_node(self, node: torch.fx.Node) -> object:
            result = super().run_node(node)
            if node.target is not graph.QUANTIZE:
                return result
            found = integers(result.numpy(), node.args[1])
            if found is None:
                return result
            errors.append(np.abs(found.astype(int) - result.numpy()))
            return torch.from_numpy(np.ascontiguousarray(found))

    with torch.no_grad():
        FromTheFile(program.graph_module()).run(torch.from_numpy(picture))
    return errors


ZOO = {
    "mobilenet_v2": lambda: mobilenet_v2.mobilenet_v2(width=0.35, classes=10),
    "shufflenet_v2": lambda: shufflenet.shufflenet_v2(width=0.5, classes=10),
    "squeezenet1_1": lambda: squeezenet.squeezenet1_1(classes=10),
}


@pytest.mark.parametrize("name", ZOO)
def test_every_layer_of_a_network_is_right_to_one_step(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What these do to the order of channels has its own tests; here tensors are compared one by one.
    monkeypatch.setattr(lowered, "without_shuffles", lambda model: model)
    monkeypatch.setattr(lowered, "with_split_convolutions", lambda model: model)
    torch.manual_seed(0)
    module = ZOO[name]()
    with torch.no_grad():
        for _ in range(3):
            module(torch.randn(8, 3, 64, 64))
    program = quantized(Program.capture(module, (torch.randn(2, 3, 64, 64),)), samples=4)
    artifact = convert.to(program, "tflite", tmp_path / "int8.tflite")
    errors = one_step_errors(program, artifact, program.signature.example(1, seed=5)[0])
    assert len(errors) > 30
    assert max(error.max() for error in errors) <= 1
    # Pooled over all layers: single small ones have more entries on the border, and LiteRT's MEAN outside of
    # XNNPACK rounds a fifth of its few results to the other side.
    assert np.mean(np.concatenate([error.reshape(-1) for error in errors]) > 0) < RARELY
    inner = operations(artifact)[1:-1]
    assert not {"QUANTIZE", "DEQUANTIZE"} & set(inner)


def test_a_trained_network_agrees_with_the_quantized_graph(tmp_path: Path) -> None:
    """ResNet-20 on CIFAR-10. Rounding differences of 21 layers add up: measured 36 dB and 98 % within one step."""
    program, data = shared_data.resnet20(), shared_data.cifar10(200, 64)
    context = Context(original=program, load_model=lambda text: program, data=data)
    made = QuantizeStatic(samples=64).apply(program, context).program
    artifact = convert.to(made, "tflite", tmp_path / "resnet20.tflite")
    (batch,) = data.batches("evaluate", program.preprocess, batch_size=64)
    expected = made.run(*batch.inputs)[0]
    with runtime.open(artifact) as runner:
        found = runner.run(*batch.inputs)[0]
    noise = float(((found - expected) ** 2).sum())
    assert 10 * np.log10(float((expected**2).sum()) / noise) > 30
    apart = np.abs(found - expected) / output_step(made)
    assert np.mean(apart < 1.01) > 0.95
    assert apart.max() < 4.01
    assert (
        artifact.manifest.size_bytes
        < 0.3 * convert.to(program, "tflite", tmp_path / "float.tflite").manifest.size_bytes
    )


class Heads(nn.Module):
    """Outputs side by side, as a detector's, whose ranges differ by 10."""

    def __init__(self) -> None:
        super().__init__()
        self.small, self.large = nn.Conv2d(4, 6, 1), nn.Conv2d(4, 6, 1)
        with torch.no_grad():
            self.large.weight.mul_(10)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([head(x).flatten(1).unflatten(1, (-1, 6)) for head in (self.small, self.large)], 1)


def test_what_is_put_side_by_side_keeps_its_range(tmp_path: Path) -> None:
    """In the scale of the first, the others ended where it does."""
    program = quantized(Program.capture(Heads().eval(), (torch.randn(2, *IMAGE),)))
    artifact = convert.to(program, "tflite", tmp_path / "int8.tflite")
    inputs = [program.signature.example(8)]
    with runtime.open(artifact) as runner:
        assert runtime.compare(program.run, runner.run, inputs).sqnr_db > 40
