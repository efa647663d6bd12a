"""OpenVINO files: the same outputs on OpenVINO, int8 from our own scales, and nothing reported to anybody."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import tiny_networks
from tflite_files import quantized

from edgepress import convert, runtime
from edgepress.artifact import Artifact, Manifest
from edgepress.convert import onnx_to_openvino
from edgepress.convert.onnx_to_openvino import OnnxToOpenvino
from edgepress.errors import UnsupportedModel
from edgepress.signature import Signature, TensorSpec

pytest.importorskip("openvino", reason="needs the openvino extra")
pytestmark = pytest.mark.openvino


@pytest.mark.parametrize("network", tiny_networks.NETWORKS)
def test_a_quantized_network_is_int8_in_openvino(network: type, tmp_path: Path) -> None:
    program = quantized(tiny_networks.capture(network))
    artifact = convert.to(program, "openvino", tmp_path / "model.openvino")
    with runtime.open(artifact) as runner:
        comparison = runtime.compare(program.run, runner.run, [program.signature.example(8)])
    # Both compute with the same integers; a value that falls between two may be rounded either way.
    assert comparison.sqnr_db > 35
    assert artifact.manifest.precision == "int8"
    assert artifact.manifest.quality == {"int8_layers": 4, "float_layers": 0}


def test_the_file_takes_its_batch(tmp_path: Path) -> None:
    program = tiny_networks.capture(tiny_networks.Residual)
    artifact = convert.to(program, "openvino", tmp_path / "model.openvino", {"batch": 3})
    assert artifact.manifest.signature.inputs[0].shape == (3, 3, 16, 16)
    assert artifact.manifest.quality == {"int8_layers": 0, "float_layers": 4}
    with runtime.open(artifact) as runner:
        comparison = runtime.compare(program.run, runner.run, [program.signature.example(7)])
    assert comparison.sqnr_db > 110, "float runtimes differ by the order of their sums only"


def test_what_openvino_cannot_read_is_told_in_its_words(tmp_path: Path) -> None:
    from onnx import TensorProto, helper, save

    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 3]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Invented", ["x"], ["y"])], "graph", ends[:1], ends[1:])
    path = tmp_path / "model.onnx"
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]), path)
    signature = Signature((TensorSpec("x", (None, 3)),), (TensorSpec("y", (None, 3)),))
    source = Artifact.describe(path, Manifest(format="onnx", signature=signature))
    with pytest.raises(UnsupportedModel, match="OpenVINO cannot read this network: .*Invented"):
        OnnxToOpenvino().write(source, tmp_path / "model.openvino")


def test_a_compiler_that_crashes_does_so_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    crashing = tmp_path / "crashing.py"
    crashing.write_text("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n")
    monkeypatch.setattr(onnx_to_openvino, "LAYERS", crashing)
    with pytest.raises(UnsupportedModel, match="fails to compile this network: signal 11"):
        convert.to(tiny_networks.capture(tiny_networks.Residual), "openvino", tmp_path / "model.openvino")
    assert not (tmp_path / "model.openvino").exists()


def test_nothing_is_reported_to_openvinos_makers(tmp_path: Path) -> None:
    """Importing openvino imports a package that reports it, where that can be imported."""
    witness = tmp_path / "imported"
    reporter = tmp_path / "openvino_telemetry"
    reporter.mkdir()
    (reporter / "__init__.py").write_text(f"open({str(witness)!r}, 'w').close()\nfrom . import backend\n")
    (reporter / "backend.py").write_text("backend_ga4 = None\n")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    for imported, reports in (
        ("import openvino", True),
        ("from edgepress.openvino_file import openvino as o; o()", False),
    ):
        witness.unlink(missing_ok=True)
        subprocess.run([sys.executable, "-c", imported], env=environment, capture_output=True, check=False)
        assert witness.exists() is reports, imported
