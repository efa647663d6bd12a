"""Local response normalisation on runtimes that pool over no channels: in the graph, and on each of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tiny_networks
import torch
from torch import nn

from edgepress import compress, convert, graph, runtime
from edgepress.compress.quantize_static import QuantizeStatic
from edgepress.convert._response_norm import with_plain_norms
from edgepress.errors import BackendMissing
from edgepress.program import Program
from edgepress.recipe import Recipe

LACKING = {"avg_pool3d", "pow"}
FORMATS = [
    "onnx",
    pytest.param("tflite", marks=pytest.mark.tflite),
    pytest.param("mnn", marks=pytest.mark.mnn),
    pytest.param("ncnn", marks=pytest.mark.ncnn),
    pytest.param("openvino", marks=pytest.mark.openvino),
    pytest.param("pte", marks=[pytest.mark.executorch, pytest.mark.slow]),
    pytest.param("paddle", marks=pytest.mark.slow),
]


def captured(beta: float = 0.75, size: int = 5) -> Program:
    """Squares weigh as much as the constant, so that a wrong neighbour shows."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 12, 3, 2), nn.ReLU(), nn.LocalResponseNorm(size, alpha=2.0, beta=beta, k=1.0),
        nn.Conv2d(12, 8, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(72, 4),
    )  # fmt: skip
    return Program.capture(network, (torch.zeros(2, 3, 16, 16),))


def quantized(program: Program) -> Program:
    return compress.apply(program, Recipe((QuantizeStatic(samples=64),)), tiny_networks.Patches(64))


def operators(program: Program) -> set[str]:
    return {graph.op_name(node) for node in graph.operators(program.graph_module())}


@pytest.mark.parametrize("size", [2, 5])
@pytest.mark.parametrize("beta", [0.25, 0.5, 0.75])
def test_a_norm_is_spelt_out_with_roots(beta: float, size: int) -> None:
    program = captured(beta, size)
    plain = with_plain_norms(program)
    assert operators(program) >= LACKING
    assert not operators(plain) & LACKING
    inputs = program.signature.example(3)
    # Five terms in another order, and two roots in place of a power.
    np.testing.assert_allclose(plain.run(*inputs)[0], program.run(*inputs)[0], rtol=1e-5, atol=1e-6)


def test_other_powers_stay() -> None:
    assert operators(with_plain_norms(captured(beta=0.6))) & LACKING == {"pow"}


def test_a_network_without_norms_stays() -> None:
    program = tiny_networks.capture(tiny_networks.Residual)
    assert with_plain_norms(program) is program


def test_a_quantized_norm_rounds_where_it_did() -> None:
    program = quantized(captured())
    plain = with_plain_norms(program)
    assert not operators(plain) & LACKING
    inputs = program.signature.example(8)
    # The pooled values are sums of five integers; what differs in the last bit is rounded to int8 behind the norm.
    np.testing.assert_allclose(plain.run(*inputs)[0], program.run(*inputs)[0], atol=1e-6)


@pytest.mark.parametrize("precision", ["float32", "int8"])
@pytest.mark.parametrize("format", FORMATS)
def test_it_gives_the_same_on_its_runtime(format: str, precision: str, tmp_path: Path) -> None:
    program = captured()
    if precision == "int8":
        if format == "paddle":
            pytest.skip("Paddle takes no int8")
        program = quantized(program)
    try:
        artifact = convert.to(program, format, tmp_path / f"model.{format}")
    except BackendMissing as missing:
        pytest.skip(str(missing))
    (inputs,) = program.signature.example(8)
    with runtime.open(artifact) as runner:
        comparison = runtime.compare(program.run, runner.run, [(inputs,)])
    assert comparison.sqnr_db > runtime.limit_db(precision, artifact.manifest.precision)
