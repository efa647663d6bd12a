"""Running an OpenVINO file on OpenVINO."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tiny_networks

from edgepress import convert, runtime
from edgepress.artifact import Artifact
from edgepress.errors import BadInput
from edgepress.openvino_file import write
from edgepress.program import Program
from edgepress.runtime.on_openvino import OpenVINORunner

pytest.importorskip("openvino", reason="needs the openvino extra")
pytestmark = pytest.mark.openvino


@pytest.fixture(scope="module")
def program() -> Program:
    return tiny_networks.capture(tiny_networks.Residual)


@pytest.fixture(scope="module")
def artifact(program: Program, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return convert.to(program, "openvino", tmp_path_factory.mktemp("openvino") / "model.openvino")


def test_is_the_runner_of_openvino(artifact: Artifact) -> None:
    assert runtime.runners_of("openvino") == ("openvino",)
    assert isinstance(runtime.open(artifact), OpenVINORunner)


def test_threads_change_nothing_and_float32_is_float32(program: Program, artifact: Artifact) -> None:
    """By itself OpenVINO computes in bfloat16 where the processor can, which would be three digits."""
    for threads in (1, 2):
        with runtime.open(artifact, threads=threads) as runner:
            comparison = runtime.compare(program.run, runner.run, [program.signature.example(4)])
        assert comparison.sqnr_db > 110


def test_profile_names_the_users_layers(program: Program, artifact: Artifact) -> None:
    with runtime.open(artifact) as runner:
        runner.load_inputs(program.signature.example(1))
        times = runner.profile(3)
    convolutions = [time.layers for time in times if time.type.startswith("Convolution")]
    assert convolutions == [("stem", "relu"), ("first", "relu_1"), ("second",)], "fused with what follows"
    assert ("head",) in [time.layers for time in times], "although it bears the output's name"
    assert all(time.latency_ms >= 0 for time in times)


def test_inputs_need_not_be_contiguous(program: Program, artifact: Artifact) -> None:
    (array,) = program.signature.example(1)
    turned = array.transpose(0, 1, 3, 2)
    with runtime.open(artifact) as runner:
        (got,) = runner.run(turned)
    np.testing.assert_allclose(got, program.run(np.ascontiguousarray(turned))[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "graph", [b"no graph at all", b"<?xml version='1.0'?><net name='x' version='11'></net>", b"\xff\xfe"]
)
def test_a_graph_that_is_none_is_refused(artifact: Artifact, graph: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.openvino"
    write(path, graph, b"1234")
    with (
        pytest.raises(BadInput, match="OpenVINO does not load this file|0 inputs and 0 outputs instead of 1"),
        runtime.open(Artifact.describe(path, artifact.manifest)),
    ):
        pass


def test_weights_that_are_cut_off_are_refused(artifact: Artifact, tmp_path: Path) -> None:
    import zipfile

    with zipfile.ZipFile(artifact.path) as joined:
        graph, weights = (joined.read(name) for name in joined.namelist())
    path = tmp_path / "model.openvino"
    write(path, graph, weights[: len(weights) // 2])
    with pytest.raises(BadInput), runtime.open(Artifact.describe(path, artifact.manifest)):
        pass
