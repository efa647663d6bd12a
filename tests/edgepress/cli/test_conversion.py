"""What converting puts on record: figures, accuracy, the layer that departs; and what failed or was skipped is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tiny_networks
import torch

from edgepress import convert
from edgepress.artifact import Artifact, Verification
from edgepress.cli import _conversion, run
from edgepress.errors import BackendMissing, VerificationFailed
from edgepress.program import Program
from edgepress.runtime.on_onnxruntime import OnnxRuntimeRunner

FAILED, MISSING = 4, 6

USER_FILE = """
import tiny_networks, torch

def network():
    torch.manual_seed(0)
    return tiny_networks.Residual(), (torch.zeros(2, 3, 16, 16),)

def data():
    (batch,) = tiny_networks.Patches(24).batches("evaluate", None)
    return [(batch.inputs[0], batch.labels)]
"""


@pytest.fixture(scope="module")
def program() -> Program:
    return tiny_networks.capture(tiny_networks.Residual)


@pytest.fixture
def artifact(program: Program, tmp_path: Path) -> Artifact:
    return convert.to(program, "onnx", tmp_path / "model.onnx")


@pytest.mark.parametrize(("samples", "sizes"), [(3, [3]), (8, [8]), (20, [8, 8, 4])])
def test_random_inputs_are_as_many_as_asked_for(program: Program, samples: int, sizes: list[int]) -> None:
    made = _conversion.batches(program.signature, None, None, samples)
    assert [len(batch) for (batch,) in made] == sizes


def with_other_weight(program: Program, name: str) -> Program:
    module = program.module()
    with torch.no_grad():
        module.get_parameter(name).neg_()
    return program.replace(module)


def test_what_is_left_in_float_is_told_by_layer_and_reason(
    user: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe, out = tmp_path / "recipe.yaml", str(tmp_path)
    data = ["--data", f"{user}:data"]
    for rules, told in (
        ("", None),
        ("rules: [{layer: first, skip: true}]", "Left in float: first (conv2d): a rule says so"),
    ):
        recipe.write_text(f"stages: [quantize_static: {{samples: 16}}]\n{rules}\n")
        assert run(["compress", f"{user}:network", *data, "-r", str(recipe), "--overwrite", "-o", out]) == 0
        capsys.readouterr()
        assert run(["convert", f"{out}/model.pt2", "--to", "tflite", "-o", out]) == 0
        printed = " ".join(capsys.readouterr().out.split())
        if told is None:
            assert "eft in float" not in printed
            assert "inside" not in printed
        else:
            assert f"model.tflite: Values change between integers and float 2 times inside. {told}" in printed


def test_figures_accuracy_and_graph_are_on_record_and_printed(
    user: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["convert", f"{user}:network", "--data", f"{user}:data", "--to", "onnx", "-o", str(tmp_path)]
    assert run(arguments) == 0
    printed = capsys.readouterr().out
    for column in ("SQNR, dB", "max error", "agreement, %", "top-1 before, %", "top-1, %"):
        assert column in printed
    assert "model.onnx: 6 operations, 0 transposes, 0 conversions, 6 float operations" in printed
    assert run([*arguments, "--evaluate", "8", "--json"]) == 0
    (manifest,) = json.loads(capsys.readouterr().out)
    results = manifest["verification"]["results"]
    assert results["top1_reference"] == results["top1_candidate"]
    assert results["top1_drop"] == 0
    assert 0 <= results["top1_reference"] <= 100
    assert results["top1_reference"] % 12.5 == 0, "of eight samples"
    assert results["limit_db"] == 60
    assert manifest["quality"]["operations"] == 6


def test_a_failure_names_the_layer(program: Program, artifact: Artifact) -> None:
    inputs = [program.signature.example(4)]
    sound = _conversion.verify(program, artifact, inputs).manifest.verification
    assert sound.status == "passed"
    assert "first_departing_layer" not in sound.results
    other = _conversion.verify(with_other_weight(program, "first.weight"), artifact, inputs)
    assert other.manifest.verification.status == "failed"
    assert other.manifest.verification.results["first_departing_layer"] == "first"
    assert Artifact.open(artifact.path).manifest.verification.status == "failed"
    with pytest.raises(VerificationFailed, match="first_departing_layer first"):
        _conversion.require_verified([other])


def test_skipped_is_no_success(
    user: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(OnnxRuntimeRunner, "requires", ("a_runtime_that_nobody_has",))
    assert run(["convert", f"{user}:network", "--to", "onnx", "-o", str(tmp_path)]) == MISSING
    printed = capsys.readouterr()
    assert "SKIPPED, not verified" in printed.out
    assert "1 of 1 files were written but not verified" in printed.err
    verification = Artifact.open(tmp_path / "model.onnx").manifest.verification
    assert verification.status == "skipped"
    assert "a_runtime_that_nobody_has" in verification.results["reason"]


def test_what_failed_is_told_before_what_was_skipped(artifact: Artifact) -> None:
    failed = artifact.verified(Verification(status="failed", results={"sqnr_db": 3.25}))
    skipped = artifact.verified(Verification(status="skipped", results={"reason": "no runtime"}))
    with pytest.raises(VerificationFailed, match=r"sqnr_db 3\.25"):
        _conversion.require_verified([skipped, failed])
    with pytest.raises(BackendMissing, match="no runtime"):
        _conversion.require_verified([skipped])


def test_inspect_shows_what_a_manifest_says(
    program: Program, artifact: Artifact, capsys: pytest.CaptureFixture[str]
) -> None:
    _conversion.verify(program, artifact, [program.signature.example(4)])
    assert run(["inspect", str(artifact.path), "--to", "onnx"]) == 0
    printed = capsys.readouterr().out
    assert "6 operations, 0 transposes" in printed
    assert "passed" in printed
    assert "conv2d" in printed, "an ONNX file is read as a network as well"
    assert run(["inspect", str(artifact.path), "--to", "onnx", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["file"]["quality"]["transposes"] == 0
