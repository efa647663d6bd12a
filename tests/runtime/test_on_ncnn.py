"""Running an ncnn file on ncnn."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny_networks

from edgepress import convert, runtime
from edgepress.artifact import Artifact
from edgepress.errors import BadInput
from edgepress.ncnn_file import write
from edgepress.program import Program
from edgepress.runtime.on_ncnn import NcnnRunner

pytest.importorskip("ncnn", reason="needs the ncnn extra")
pytest.importorskip("pnnx", reason="needs the ncnn extra")
pytestmark = pytest.mark.ncnn


@pytest.fixture(scope="module")
def program() -> Program:
    return tiny_networks.capture(tiny_networks.Separable)


@pytest.fixture(scope="module")
def artifact(program: Program, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return convert.to(program, "ncnn", tmp_path_factory.mktemp("ncnn") / "model.ncnn")


def test_is_the_runner_of_ncnn(artifact: Artifact) -> None:
    assert runtime.runners_of("ncnn")[0] == "ncnn"
    assert isinstance(runtime.open(artifact), NcnnRunner)


def test_threads_change_nothing(program: Program, artifact: Artifact) -> None:
    inputs = program.signature.example(2)
    outputs = []
    for threads in (1, 2):
        with runtime.open(artifact, threads=threads) as runner:
            outputs.append(runner.run(*inputs)[0])
    # Threads share the output channels among them; each sum stays as it is.
    np.testing.assert_allclose(*outputs, rtol=1e-6, atol=1e-7)


def test_layers_are_timed_under_the_users_names(program: Program, artifact: Artifact) -> None:
    with runtime.open(artifact) as runner:
        runner.run(*program.signature.example(1))
        times = runner.profile(5)
    named = [layer for time in times for layer in time.layers]
    assert named == ["expand.0", "depthwise.0", "project.0", "classifier.1"]
    assert sum(time.latency_ms for time in times) > 0
    assert "Input" not in {time.type for time in times}


def test_float32_files_run_in_float32(program: Program, artifact: Artifact) -> None:
    """Whatever the processor could do in half precision, which would be three digits."""
    with runtime.open(artifact) as runner:
        comparison = runtime.compare(program.run, runner.run, [program.signature.example(4)])
    assert comparison.sqnr_db > 100


def test_a_graph_that_is_none_is_refused(artifact: Artifact, tmp_path: Path) -> None:
    path = tmp_path / "model.ncnn"
    write(path, "no graph at all\n", b"")
    with (
        pytest.raises(BadInput, match="does not load"),
        runtime.open(Artifact.describe(path, artifact.manifest)),
    ):
        pass


def test_outputs_that_the_manifest_does_not_state_are_told(
    program: Program, artifact: Artifact, tmp_path: Path
) -> None:
    signature = artifact.manifest.signature
    (output,) = signature.outputs
    wider = replace(signature, outputs=(replace(output, shape=(1, 77)),))
    more = replace(signature, outputs=(output, output))
    path = tmp_path / "model.ncnn"
    for stated in (wider, more):
        path.write_bytes(artifact.path.read_bytes())
        lying = Artifact.describe(path, replace(artifact.manifest, signature=stated))
        with pytest.raises(BadInput, match="not match its manifest"), runtime.open(lying) as runner:
            runner.run(*program.signature.example(1))
