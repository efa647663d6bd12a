"""Files and their manifests."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from edgepress.artifact import Artifact, Manifest, Verification, manifest_path
from edgepress.errors import BadInput
from edgepress.history import History, Step
from edgepress.preprocess import IMAGENET
from edgepress.signature import Signature, TensorSpec

MANIFEST = Manifest(
    format="onnx",
    signature=Signature((TensorSpec("x", (None, 3, 4, 4)),), (TensorSpec("y", (None, 2)),)),
    precision="int8",
    preprocess=IMAGENET,
    labels=("cat", "狗"),
    history=History((Step("prune", {"macs": 0.5, "keep": ["a"]}, {"top1": 90.5}),)),
    tools={"torch": "2.13"},
)


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"content")
    return Artifact.describe(path, MANIFEST)


def test_everything_comes_back(artifact: Artifact) -> None:
    again = Artifact.open(artifact.path)
    assert again == artifact
    assert again.manifest.size_bytes == 7
    assert dataclasses.replace(again.manifest, sha256="", size_bytes=0) == MANIFEST


def test_verification_is_put_on_record(artifact: Artifact) -> None:
    artifact.verified(Verification(status="skipped", results={"reason": "runtime absent"}))
    found = Artifact.open(artifact.path).manifest.verification
    assert found is not None
    assert (found.status, found.results) == ("skipped", {"reason": "runtime absent"})


def test_a_changed_file_is_noticed(artifact: Artifact) -> None:
    artifact.path.write_bytes(b"contenT")
    with pytest.raises(BadInput, match="the hash differs"):
        Artifact.open(artifact.path)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"format": "onnx"}', '{"format": 3, "signature": 4}'])
def test_broken_manifests(artifact: Artifact, content: str) -> None:
    manifest_path(artifact.path).write_text(content)
    with pytest.raises(BadInput, match="manifest cannot be read"):
        Artifact.open(artifact.path)


def test_unknown_values_in_a_manifest(artifact: Artifact) -> None:
    path = manifest_path(artifact.path)
    path.write_text(json.dumps({**json.loads(path.read_text()), "precision": "int3"}))
    with pytest.raises(BadInput, match="manifest cannot be read"):
        Artifact.open(artifact.path)


def test_missing_files(artifact: Artifact, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="There is no file 'none.onnx'"):
        Artifact.open(tmp_path / "none.onnx")
    manifest_path(artifact.path).unlink()
    with pytest.raises(BadInput, match="has no manifest"):
        Artifact.open(artifact.path)
