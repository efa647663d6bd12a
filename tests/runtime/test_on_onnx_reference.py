"""ONNX's reference evaluator: a second opinion on a file, and never the first."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import tiny_networks

from edgepress import compress, convert, runtime
from edgepress.artifact import Artifact, Manifest
from edgepress.compress.quantize_static import QuantizeStatic
from edgepress.errors import BadInput, UnsupportedTarget
from edgepress.recipe import Recipe
from edgepress.signature import Signature, TensorSpec


def test_onnx_runtime_stays_the_one_to_take() -> None:
    assert runtime.runners_of("onnx")[0] == "onnxruntime"


@pytest.mark.parametrize("is_quantized", [False, True])
def test_agrees_with_the_network(is_quantized: bool, tmp_path: Path) -> None:
    program = tiny_networks.capture(tiny_networks.Residual)
    data = tiny_networks.Patches(8)
    if is_quantized:
        program = compress.apply(program, Recipe((QuantizeStatic(),)), data)
    artifact = convert.to(program, "onnx", tmp_path / "network", {"opset": 21})
    with runtime.open(artifact, "cpu:onnx_reference") as reference:
        (found,) = reference.run(data.pictures)
    (expected,) = program.run(data.pictures)
    # Sums of float32 in another order; a rounding that falls the other way is one step of an int8 output.
    np.testing.assert_allclose(found, expected, atol=0.1 if is_quantized else 1e-4)


def test_a_damaged_file(tmp_path: Path) -> None:
    artifact = convert.to(tiny_networks.capture(tiny_networks.Residual), "onnx", tmp_path / "network")
    artifact.path.write_bytes(artifact.path.read_bytes()[:100])
    with pytest.raises(BadInput, match="does not read"), runtime.open(artifact, "cpu:onnx_reference"):
        pass


def test_an_operator_that_the_reference_lacks(tmp_path: Path) -> None:
    """ONNX Runtime's own operators are none of the standard's."""
    node = onnx.helper.make_node("Gelu", ["x"], ["y"], domain="com.microsoft")
    ends = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 4]) for name in "xy"]
    graph = onnx.helper.make_graph([node], "own", ends[:1], ends[1:])
    opsets = [onnx.helper.make_opsetid("com.microsoft", 1), onnx.helper.make_opsetid("", 18)]
    path = tmp_path / "own.onnx"
    onnx.save(onnx.helper.make_model(graph, opset_imports=opsets), path)
    spec = (TensorSpec("x", (1, 4), "float32"),)
    artifact = Artifact(path, Manifest(format="onnx", signature=Signature(spec, spec), precision="float32"))
    with (
        pytest.raises(UnsupportedTarget, match="lacks an operator"),
        runtime.open(artifact, "cpu:onnx_reference"),
    ):
        pass
