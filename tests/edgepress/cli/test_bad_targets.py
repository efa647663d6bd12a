"""Targets that cannot take a network, and files that are not what they seem: the exit code, and what is said."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import onnx
import pytest
import tiny_networks
from onnx import TensorProto, helper

from edgepress import convert
from edgepress.artifact import Artifact, manifest_path
from edgepress.cli import run
from edgepress.cli._console import print_table
from edgepress.convert.program_to_onnx import ProgramToOnnx

USAGE, UNSUPPORTED, MISSING = 2, 3, 6


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    program = tiny_networks.capture(tiny_networks.Residual)
    return convert.to(program, "onnx", tmp_path_factory.mktemp("whole") / "model.onnx")


@pytest.fixture
def artifact(whole: Artifact, tmp_path: Path) -> Artifact:
    """A copy of the file with its manifest, to be spoilt."""
    path = tmp_path / "model.onnx"
    path.write_bytes(whole.path.read_bytes())
    return Artifact.describe(path, whole.manifest)


def test_a_file_that_is_not_its_manifests(artifact: Artifact, capsys: pytest.CaptureFixture[str]) -> None:
    artifact.path.write_bytes(artifact.path.read_bytes() + b"\0")
    assert run(["benchmark", str(artifact.path)]) == USAGE
    assert "the hash differs" in capsys.readouterr().err


def test_a_file_cut_short_that_its_manifest_vouches_for(
    artifact: Artifact, capsys: pytest.CaptureFixture[str]
) -> None:
    content = artifact.path.read_bytes()
    artifact.path.write_bytes(content[: len(content) // 2])
    Artifact.describe(artifact.path, artifact.manifest)
    assert run(["benchmark", str(artifact.path)]) == USAGE
    assert "bug" not in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["inputs", "outputs"])
def test_a_manifest_that_was_changed_by_hand(
    artifact: Artifact, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The hash is the file's and agrees; what the file takes and gives does not."""
    signature = artifact.manifest.signature
    more = (*getattr(signature, kind), dataclasses.replace(signature.inputs[0], name="more"))
    Artifact.describe(
        artifact.path,
        dataclasses.replace(artifact.manifest, signature=dataclasses.replace(signature, **{kind: more})),
    )
    assert run(["benchmark", str(artifact.path)]) == USAGE
    assert "'model.onnx' does not match its manifest" in capsys.readouterr().err


@pytest.mark.parametrize("spoilt", ["file", "manifest"])
def test_a_spoilt_engine_is_told_before_a_missing_package(
    artifact: Artifact, spoilt: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is read here needs no TensorRT, and who installed it would learn no more."""
    artifact = Artifact.describe(artifact.path, dataclasses.replace(artifact.manifest, format="tensorrt"))
    path = artifact.path if spoilt == "file" else manifest_path(artifact.path)
    path.write_bytes(path.read_bytes()[:-9])
    said = "the hash differs" if spoilt == "file" else "manifest cannot be read"
    for command in (["benchmark"], ["verify", str(artifact.path)]):
        assert run([*command, str(artifact.path)]) == USAGE
        assert said in capsys.readouterr().err


def test_a_file_without_a_manifest(artifact: Artifact, capsys: pytest.CaptureFixture[str]) -> None:
    artifact.path.with_name("model.onnx.manifest.json").unlink()
    assert run(["benchmark", str(artifact.path)]) == USAGE
    assert "has no manifest" in capsys.readouterr().err


def test_a_format_that_no_runner_loads(artifact: Artifact, capsys: pytest.CaptureFixture[str]) -> None:
    Artifact.describe(artifact.path, dataclasses.replace(artifact.manifest, format="abacus"))
    assert run(["benchmark", str(artifact.path)]) == UNSUPPORTED
    assert "No runner loads .abacus files" in capsys.readouterr().err


def test_a_free_axis_besides_the_batch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    x, y = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 3, "height", 8]) for name in "xy"
    )
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "free", [x], [y])
    opset = helper.make_opsetid("", 18)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=10), tmp_path / "free.onnx")
    assert run(["convert", str(tmp_path / "free.onnx"), "--to", "onnx", "-o", str(tmp_path / "out")]) == UNSUPPORTED  # fmt: skip
    message = capsys.readouterr().err
    assert "has dynamic axes [2]" in message
    assert "--input" in message
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", [["convert", "lenet5", "-o", "out", "--to"], ["doctor", "--for"]])
def test_a_system_that_nobody_can_write_for(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*command, "onnx,mace"]) == UNSUPPORTED
    message = capsys.readouterr().err
    assert "edgepress cannot write files for MACE: its converter" in message
    assert "--to onnx or --to tflite" in message


def test_doctor_fails_only_for_formats_that_it_is_asked_about(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(["doctor", "--for", "onnx"]) == 0
    monkeypatch.setattr(ProgramToOnnx, "requires", classmethod(lambda cls: ("not_installed",)))
    assert run(["doctor"]) == 0
    capsys.readouterr()
    assert run(["doctor", "--for", "onnx"]) == MISSING
    assert "pip install not_installed" in capsys.readouterr().err


def test_a_table_shows_brackets(capsys: pytest.CaptureFixture[str]) -> None:
    """Rich takes [tflite] for markup, and would leave it out of the command to type."""
    print_table(["detail"], [["pip install 'edgepress[tflite]'"]])
    assert "pip install 'edgepress[tflite]'" in capsys.readouterr().out
