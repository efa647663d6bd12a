"""Paddle files, written and run in Paddle's own environment."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import shared_data
import small_tasks
import tiny_networks
import torch
from torch import nn

from edgepress import compress, convert, models, runtime
from edgepress.compress.quantize_static import QuantizeStatic
from edgepress.convert import onnx_to_paddle
from edgepress.convert._paddle import preflight
from edgepress.convert._paddle.older import IR_VERSION, OPSET, older
from edgepress.environments.paddle import ENVIRONMENT
from edgepress.errors import BackendMissing, UnsupportedModel
from edgepress.isolation import Finished
from edgepress.models import segnet
from edgepress.program import Program
from edgepress.recipe import Recipe
from edgepress.runtime import on_paddle
from edgepress.worker import Worker

needs_paddle = pytest.mark.skipif(not ENVIRONMENT.is_made(), reason="needs edgepress doctor --make paddle")


def test_without_its_environment_the_cost_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEPRESS_CACHE", str(tmp_path))
    with pytest.raises(BackendMissing, match="not set up yet") as raised:
        convert.check(tiny_networks.capture(tiny_networks.Residual), "paddle")
    assert raised.value.hint == f"edgepress doctor --make paddle ({ENVIRONMENT.cost})"


@needs_paddle
def test_quantized_networks_are_refused() -> None:
    program = tiny_networks.capture(tiny_networks.Residual)
    quantized = compress.apply(program, Recipe((QuantizeStatic(samples=64),)), tiny_networks.Patches(64))
    with pytest.raises(UnsupportedModel, match="no quantized network"):
        convert.check(quantized, "paddle")


@needs_paddle
def test_a_failure_of_x2paddle_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failing = tmp_path / "tool.py"
    failing.write_text("raise SystemExit('no such operator')")
    monkeypatch.setattr(onnx_to_paddle, "TOOL", failing)
    with pytest.raises(UnsupportedModel, match=r"no such operator \(exit code 1\)"):
        convert.to(tiny_networks.capture(tiny_networks.Residual), "paddle", tmp_path / "model.paddle")


@needs_paddle
def test_a_linear_layer_without_bias(tmp_path: Path) -> None:
    network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 4, bias=False))
    program = Program.capture(network, (torch.zeros(2, 3, 8, 8),))
    with runtime.open(convert.to(program, "paddle", tmp_path / "model.paddle")) as runner:
        comparison = runtime.compare(program.run, runner.run, [program.signature.example(2)])
    assert comparison.sqnr_db > 80  # float sums in another order


class Unpooled(nn.Module):
    """Operators that Paddle gives to oneDNN, and then cannot hand over."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        features = self.convolution(pictures)
        pooled = nn.functional.max_pool2d(features, 2, ceil_mode=True)
        return segnet.unpooled(pooled, segnet.largest(features, pooled))


@needs_paddle
def test_what_onednn_does_not_execute_runs_without_it(tmp_path: Path) -> None:
    program = Program.capture(Unpooled(), (torch.zeros(2, 3, 8, 8),))
    with runtime.open(convert.to(program, "paddle", tmp_path / "model.paddle")) as runner:
        for size in (2, 3):
            comparison = runtime.compare(program.run, runner.run, [program.signature.example(size)])
            assert comparison.sqnr_db > 80


class ReadTwice(nn.Module):
    """A tensor of oneDNN's that two of Paddle's own operators take."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(64, 64)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        rows = torch.relu(self.linear(features))
        return rows + torch.sin(rows)


@needs_paddle
def test_no_operator_overwrites_what_another_reads(tmp_path: Path) -> None:
    program = Program.capture(ReadTwice(), (torch.zeros(2, 64),))
    with runtime.open(convert.to(program, "paddle", tmp_path / "model.paddle")) as runner:
        comparison = runtime.compare(program.run, runner.run, [program.signature.example(2)])
    assert comparison.sqnr_db > 80  # float sums in another order; 8 dB where one does


@needs_paddle
@pytest.mark.slow
def test_a_transformer_gives_the_programs_outputs(tmp_path: Path) -> None:
    _, program = small_tasks.captured("bert_small")
    inputs = tuple(each.numpy() for each in small_tasks.inputs("bert_small", 2))
    with runtime.open(convert.to(program, "paddle", tmp_path / "model.paddle")) as runner:
        assert runtime.compare(program.run, runner.run, [inputs]).sqnr_db > 100


@needs_paddle
@pytest.mark.slow
def test_what_onednns_passes_refuse_loads_without_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, program = small_tasks.captured("yolov3_tiny")
    begun: list[str] = []
    started = on_paddle.PaddleRunner._started

    def noted(self: on_paddle.PaddleRunner, graph: Path, weights: Path, kernels: str) -> Worker:
        begun.append(kernels)
        return started(self, graph, weights, kernels)

    monkeypatch.setattr(on_paddle.PaddleRunner, "_started", noted)
    inputs = tuple(each.numpy() for each in small_tasks.inputs("yolov3_tiny", 2))
    with runtime.open(convert.to(program, "paddle", tmp_path / "model.paddle")) as runner:
        assert runtime.compare(program.run, runner.run, [inputs]).sqnr_db > 80
    assert begun == [on_paddle.WITH_ONEDNN, on_paddle.WITHOUT_ONEDNN]


class Spelt(nn.Module):
    """What x2paddle does not know, and what it pads wrongly."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 8, 3)
        self.pool = nn.AvgPool2d(3, 2, ceil_mode=True)
        self.norm = nn.LayerNorm((3, 3))
        self.plain = nn.LayerNorm(3, elementwise_affine=False)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        active = nn.functional.hardswish(self.convolution(pictures))
        return self.plain(self.norm(self.pool(active)))


def spelt() -> Program:
    torch.manual_seed(0)
    network = Spelt()
    nn.init.normal_(network.norm.weight)
    nn.init.normal_(network.norm.bias)
    return Program.capture(network, (torch.zeros(2, 3, 8, 8),))


@needs_paddle
@pytest.mark.slow
def test_operators_that_x2paddle_lacks_are_spelt_out(tmp_path: Path) -> None:
    program = spelt()
    source = convert.to(program, "onnx", tmp_path / "model.onnx").path
    kinds = {node.op_type for node in onnx.load(source).graph.node}
    assert kinds >= {"HardSwish", "LayerNormalization", "Pad"}
    assert not {node.op_type for node in older(source).graph.node} & {"HardSwish", "LayerNormalization"}
    with runtime.open(convert.to(program, "paddle", tmp_path / "model.paddle")) as runner:
        comparison = runtime.compare(program.run, runner.run, [program.signature.example(2)])
    assert comparison.sqnr_db > 80  # float sums in another order


@needs_paddle
@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (nn.Mish(), "too new for"),
        (nn.ConstantPad3d((0, 0, 0, 0, 1, 1), 0.0), "pads no channels"),
        (nn.ConstantPad2d(1, 1.0), "pads with zeros alone"),
    ],
)
def test_what_x2paddle_lacks_is_foreseen(layer: nn.Module, reason: str) -> None:
    program = Program.capture(nn.Sequential(nn.Conv2d(3, 8, 3), layer), (torch.zeros(2, 3, 8, 8),))
    with pytest.raises(UnsupportedModel, match=reason):
        convert.check(program, "paddle")


@needs_paddle
def test_an_operator_that_x2paddle_lacks_is_named_by_its_layer() -> None:
    program = Program.capture(nn.Sequential(nn.Conv2d(3, 8, 3), nn.SELU()), (torch.zeros(2, 3, 8, 8),))
    (found,) = convert.unsupported(program, "paddle")
    assert (found.layer, found.operator) == ("1", "Selu")


class Resized(nn.Module):
    """Operators that x2paddle knows, in uses that it fails on."""

    def __init__(self) -> None:
        super().__init__()
        self.resize = nn.Upsample(size=(7, 5), mode="bilinear")
        self.recurrent = nn.LSTM(5, 4, batch_first=True)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return self.recurrent(self.resize(pictures)[:, 0])[0]


@needs_paddle
def test_uses_that_x2paddle_fails_on_are_foreseen() -> None:
    program = Program.capture(Resized(), (torch.zeros(2, 3, 8, 8),))
    found = convert.unsupported(program, "paddle")
    assert [(place.layer, place.operator) for place in found] == [("resize", "Resize"), ("recurrent", "LSTM")]


@needs_paddle
def test_what_stands_behind_a_padding_is_translated(tmp_path: Path) -> None:
    """x2paddle infers no shapes from there on: it reads those of the file."""
    layers = (nn.Conv2d(3, 8, 3), nn.ZeroPad2d((1, 2, 0, 3)), nn.BatchNorm2d(8), nn.ZeroPad2d(1))
    program = Program.capture(nn.Sequential(*layers), (torch.zeros(2, 3, 8, 8),))
    with runtime.open(convert.to(program, "paddle", tmp_path / "model.paddle")) as runner:
        comparison = runtime.compare(program.run, runner.run, [program.signature.example(2)])
    assert comparison.sqnr_db > 80  # float sums in another order


def test_what_fails_only_because_of_a_node_before_is_not_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = Program.capture(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()), (torch.zeros(2, 3, 8, 8),))
    source = convert.to(program, "onnx", tmp_path / "model.onnx").path
    outputs = {node.op_type: node.output[0] for node in older(source).graph.node}
    for first, named in (("fails", ["Conv"]), ("", ["Relu"])):
        answers = {outputs["Conv"]: first, outputs["Relu"]: "follows"}
        monkeypatch.setattr(preflight, "_refused", lambda model, source, found=answers: found)
        assert [place.operator for place in preflight.unsupported(source)] == named


def test_a_script_that_fails_refuses_the_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It answers nothing then, which is no consent."""
    program = Program.capture(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()), (torch.zeros(2, 3, 8, 8),))
    source = convert.to(program, "onnx", tmp_path / "model.onnx").path
    monkeypatch.setattr(preflight, "run_script", lambda *_, **__: Finished(False, "no memory", "exit code 1"))
    with pytest.raises(UnsupportedModel, match=r"no memory \(exit code 1\)") as raised:
        preflight.unsupported(source)
    assert raised.value.where == str(source)


class Halves(nn.Module):
    """Two pieces and three, of which each is used."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 8, 3)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        first, second = self.convolution(pictures).chunk(2, dim=1)
        top, middle, bottom = (first * 2 + second).split((1, 2, 3), dim=2)
        return top.mean((2, 3)) + middle.amax((2, 3)) - bottom.mean((2, 3))


def test_pieces_are_slices_in_the_older_file(tmp_path: Path) -> None:
    """onnx converts no Split; what it gives instead computes the same."""
    program = Program.capture(Halves(), (torch.zeros(2, 3, 8, 8),))
    source = convert.to(program, "onnx", tmp_path / "model.onnx").path
    assert "Split" in {node.op_type for node in onnx.load(source).graph.node}
    model = older(source)
    assert (model.opset_import[0].version, model.ir_version) == (OPSET, IR_VERSION)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    (inputs,) = program.signature.example(2)
    (got,) = session.run(None, {session.get_inputs()[0].name: inputs})
    np.testing.assert_allclose(got, program.run(inputs)[0], rtol=1e-5, atol=1e-6)


def test_what_the_older_version_lacks_is_told_without_a_place_in_others_code(tmp_path: Path) -> None:
    node = onnx.helper.make_node("Mish", ["x"], ["y"])  # since opset 18
    ends = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in "xy"]
    graph = onnx.helper.make_graph([node], "graph", ends[:1], ends[1:])
    onnx.save(
        onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)]),
        tmp_path / "model.onnx",
    )
    with pytest.raises(UnsupportedModel, match="too new for") as raised:
        older(tmp_path / "model.onnx")
    assert "Mish" in str(raised.value)
    assert ".h:" not in str(raised.value)


@needs_paddle
@pytest.mark.slow
def test_a_shuffled_network_gives_the_programs_outputs(tmp_path: Path) -> None:
    program = models.load("shufflenet_v2")
    with runtime.open(convert.to(program, "paddle", tmp_path / "model.paddle")) as runner:
        comparison = runtime.compare(program.run, runner.run, [program.signature.example(2)])
    assert comparison.sqnr_db > 80  # float sums in another order


@needs_paddle
@pytest.mark.slow
@pytest.mark.parametrize("network", [shared_data.squeezenet, shared_data.resnet20])
def test_trained_networks_give_the_programs_outputs(network: object, tmp_path: Path) -> None:
    assert callable(network)
    program: Program = network()
    artifact = convert.to(program, "paddle", tmp_path / "model.paddle")
    with runtime.open(artifact) as runner:
        comparison = runtime.compare(program.run, runner.run, [program.signature.example(2)])
    assert comparison.sqnr_db > 80  # float sums in another order


def test_no_package_of_paddles_is_needed_to_ask() -> None:
    """Neither edge nor runner imports anything of Paddle's in our own process."""
    code = (
        "import sys; from edgepress import convert, runtime; convert.find('onnx', 'paddle'); "
        "runtime.find('paddle'); print([n for n in sys.modules if 'paddle' in n and 'edgepress' not in n])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
