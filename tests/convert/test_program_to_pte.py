"""ExecuTorch files: the whole network in one delegate, int8 with our own scales, and what it lacks said before."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
from tflite_files import network, quantized
from torch import Tensor, nn

from edgepress import convert, runtime
from edgepress.artifact import Artifact
from edgepress.errors import UnsupportedModel
from edgepress.program import Program

pytest.importorskip("executorch", reason="needs the executorch extra")
pytestmark = pytest.mark.executorch

functional = nn.functional


def mobile(x: Tensor, stem: nn.Module, depthwise: nn.Module, norm: nn.Module, head: nn.Module) -> Tensor:
    """What MobileNetV2 and ShuffleNetV2 are made of: halves, a shuffle, a depthwise convolution, ReLU6, a sum."""
    x = functional.relu6(stem(x))
    left, right = x.chunk(2, 1)
    x = torch.cat([left, functional.relu6(norm(depthwise(right)))], 1)
    shuffled = x.view(-1, 2, 4, 8, 8).transpose(1, 2).reshape(-1, 8, 8, 8)
    return head(functional.dropout((x + shuffled).mean((2, 3)), training=False))


def captured(function: object = mobile) -> Program:
    layers = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1, groups=4, bias=False)
    module = network(function, *layers, nn.BatchNorm2d(4), nn.Linear(8, 5))
    return Program.capture(module, (torch.zeros(2, 3, 8, 8),))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Program, Artifact]]:
    """The network in float32 and in int8."""
    folder = tmp_path_factory.mktemp("pte")
    program = captured()
    programs = {"float32": program, "int8": quantized(program)}
    return {
        kind: (made, convert.to(made, "pte", folder / f"{kind}.pte", {"batch": 2}))
        for kind, made in programs.items()
    }


@pytest.mark.parametrize("kind", ["float32", "int8"])
def test_one_delegate_computes_what_the_program_does(
    files: dict[str, tuple[Program, Artifact]], kind: str
) -> None:
    program, artifact = files[kind]
    with runtime.open(artifact) as runner:
        comparison = runtime.compare(program.run, runner.run, [program.signature.example(5)])
    # Float runtimes differ by the order of their sums; two int8 executions by a step in places.
    assert comparison.sqnr_db > {"float32": 110, "int8": 35}[kind]
    quality = artifact.manifest.quality
    assert (quality["delegates"], quality["outside_delegate"]) == (1, 0)
    assert artifact.manifest.precision == kind
    assert artifact.manifest.signature.inputs[0].shape == (2, 3, 8, 8)


def test_every_operator_of_a_quantized_network_is_int8(files: dict[str, tuple[Program, Artifact]]) -> None:
    program, artifact = files["int8"]
    assert artifact.manifest.quality["in_float"] == 0
    with runtime.open(artifact) as runner:
        runner.load_inputs(program.signature.example(2))
        types = {time.type for time in runner.profile(2)}
    layers = {type for type in types if type.startswith(("Convolution", "Fully Connected"))}
    assert layers
    assert all("QS8" in type or "QC8" in type for type in layers), layers


def test_the_import_leaves_the_root_logger_alone(files: dict[str, tuple[Program, Artifact]]) -> None:
    assert not [handler for handler in logging.getLogger().handlers if type(handler) is logging.StreamHandler]
    assert logging.root.manager.disable == logging.NOTSET


def test_what_the_delegate_lacks_is_counted_and_named(tmp_path: Path) -> None:
    def other(x: Tensor, stem: nn.Module, *rest: nn.Module) -> Tensor:
        return functional.avg_pool2d(functional.hardswish(stem(x)).cumsum(1), 2)

    program = quantized(captured(other))
    artifact = convert.to(program, "pte", tmp_path / "model.pte")
    quality = artifact.manifest.quality
    assert quality["outside_delegate_operators"] == "cumsum"
    assert quality["in_float_operators"] == "avg_pool2d, cumsum, hardswish"
    with runtime.open(artifact) as runner:
        comparison = runtime.compare(program.run, runner.run, [program.signature.example(2)])
        runner.load_inputs(program.signature.example(1))
        assert "cumsum.out" in {time.type for time in runner.profile(1)}
    assert comparison.sqnr_db > 35, "as above"


def test_what_only_asserts_needs_no_kernel() -> None:
    """A change of type leaves an assertion behind where PyTorch takes operators apart."""

    class Peaks(nn.Module):
        def forward(self, pictures: torch.Tensor) -> torch.Tensor:
            return (pictures == pictures.amax((2, 3), keepdim=True)).to(pictures.dtype)

    convert.check(Program.capture(Peaks(), (torch.zeros(2, 3, 8, 8),)), "pte")


def test_what_executorch_lacks_is_said_before(tmp_path: Path) -> None:
    program = captured(lambda x, stem, *rest: torch.sort(stem(x), 1)[0])
    with pytest.raises(UnsupportedModel, match="ExecuTorch has no kernel") as raised:
        convert.to(program, "pte", tmp_path / "model.pte")
    assert raised.value.what == "ExecuTorch has no kernel for sort."
    assert not list(tmp_path.iterdir())
