"""Static quantization with activations of 16 bits, in the network and in the files that hold it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tiny_networks
import torch
from torch import nn

from edgepress import compress, convert, graph, runtime
from edgepress.compress.quantize_static import QuantizeStatic
from edgepress.errors import BadOption, UnsupportedModel
from edgepress.program import Program
from edgepress.recipe import Recipe
from edgepress.rules import Rule, Rules
from edgepress.runtime import compare

DATA = tiny_networks.Patches(32)


def quantized(program: Program, scheme: str, *rules: Rule) -> Program:
    stage = QuantizeStatic(scheme=scheme, samples=32, rounding="nearest")
    return compress.apply(program, Recipe((stage,), Rules(rules)), DATA)


@pytest.fixture(scope="module", params=tiny_networks.NETWORKS, ids=lambda network: network.__name__)
def original(request: pytest.FixtureRequest) -> Program:
    return tiny_networks.capture(request.param)


def test_only_the_weights_are_coarse(original: Program) -> None:
    expected = original.run(DATA.pictures)[0]
    errors = [
        np.square(quantized(original, scheme).run(DATA.pictures)[0] - expected).sum()
        for scheme in ("int8", "w8a16")
    ]
    assert errors[1] < 0.7 * errors[0]  # seen: a half to a tenth


@pytest.mark.parametrize("format", ["onnx", pytest.param("tflite", marks=pytest.mark.tflite)])
def test_files_compute_as_the_network(original: Program, format: str, tmp_path: Path) -> None:
    if format == "tflite":
        pytest.importorskip("ai_edge_litert")
    made = quantized(original, "w8a16")
    artifact = convert.to(made, format, tmp_path / "model")
    assert artifact.manifest.quantized == made.quantized
    with runtime.open(artifact) as runner:
        agreement = compare(made.run, runner.run, [(DATA.pictures[place : place + 1],) for place in range(8)])
    assert agreement.sqnr_db > 60  # steps of 1/32767, a few of them apart
    if format == "tflite":
        assert artifact.manifest.quality["float_operations"] == 0


def test_scales_lie_about_zero(original: Program) -> None:
    made = quantized(original, "w8a16")
    pairs = [node for node in graph.operators(made.graph_module()) if node.target is graph.QUANTIZE]
    assert pairs
    assert {tuple(node.args[2:]) for node in pairs} == {(0, -32768, 32767, torch.int16)}


@pytest.mark.tflite
def test_what_has_no_form_of_16_bits_stays_in_float(tmp_path: Path) -> None:
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Hardswish(), nn.Conv2d(8, 4, 3))
    program = Program.capture(layers, (torch.zeros(2, 3, tiny_networks.SIZE, tiny_networks.SIZE),))
    made = quantized(program, "w8a16")
    (left,) = made.history.steps[-1].results["left_in_float"]
    assert left == {"layer": "1", "type": "hardswish", "reason": "it has no form of 16 bits"}
    pytest.importorskip("ai_edge_litert")
    with runtime.open(convert.to(made, "tflite", tmp_path / "model")) as runner:
        agreement = compare(made.run, runner.run, [(DATA.pictures[:1],)])
    assert agreement.sqnr_db > 60


@pytest.mark.tflite
def test_numbers_beside_16_bits_have_16_bits_as_well(tmp_path: Path) -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 3)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.second(self.first(images) * 0.7 + 0.3)

    pytest.importorskip("ai_edge_litert")
    torch.manual_seed(0)
    program = Program.capture(Scaled(), (torch.zeros(2, 3, tiny_networks.SIZE, tiny_networks.SIZE),))
    made = quantized(program, "w8a16")
    with runtime.open(convert.to(made, "tflite", tmp_path / "model")) as runner:
        agreement = compare(made.run, runner.run, [(DATA.pictures[:1],)])
    assert agreement.sqnr_db > 60


def test_one_layer_cannot_have_other_activations() -> None:
    program = tiny_networks.capture(tiny_networks.Residual)
    with pytest.raises(BadOption, match="same number of bits"):
        quantized(program, "int8", Rule(layer="second", options={"scheme": "w8a16"}))


def test_formats_without_such_kernels_refuse_with_the_reason() -> None:
    made = quantized(tiny_networks.capture(tiny_networks.Residual), "w8a16")
    for format in ("ncnn", "mnn", "openvino", "pte", "coreml", "tensorrt"):
        with pytest.raises(UnsupportedModel, match=r"w8a16.*8 bits only") as refused:
            convert.check(made, format)
        assert "tflite" in refused.value.hint
