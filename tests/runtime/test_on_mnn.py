"""Running an MNN file on MNN."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import tiny_networks

from edgepress import convert, runtime
from edgepress.artifact import Artifact
from edgepress.program import Program
from edgepress.runtime.on_mnn import MnnRunner

pytest.importorskip("MNN", reason="needs the mnn extra")
pytestmark = pytest.mark.mnn


@pytest.fixture(scope="module")
def program() -> Program:
    return tiny_networks.capture(tiny_networks.Separable)


@pytest.fixture(scope="module")
def artifact(program: Program, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return convert.to(program, "mnn", tmp_path_factory.mktemp("mnn") / "model.mnn")


def test_is_the_runner_of_mnn(artifact: Artifact) -> None:
    assert runtime.runners_of("mnn") == ("mnn",)
    assert isinstance(runtime.open(artifact), MnnRunner)


def test_batches_and_threads_change_nothing(program: Program, artifact: Artifact) -> None:
    inputs = program.signature.example(3)
    with runtime.open(artifact, threads=2) as runner:
        (together,) = runner.run(*inputs)
        apart = np.concatenate([runner.run(inputs[0][[place]])[0] for place in range(3)])
    # Float sums of a matrix product are split by its size.
    np.testing.assert_allclose(together, apart, rtol=1e-5, atol=1e-6)


def test_operators_are_timed_under_the_users_names(program: Program, artifact: Artifact) -> None:
    with runtime.open(artifact) as runner:
        runner.run(*program.signature.example(1))
        layers = {layer.name: layer for layer in runner.profile(3)}
    assert layers["depthwise.0/Conv"].type == "ConvolutionDepthwise"
    assert layers["depthwise.0/Conv"].layers == ("depthwise.0",)
    assert all(layer.latency_ms > 0 for layer in layers.values())


def test_nothing_is_printed_among_our_results(artifact: Artifact) -> None:
    """MNN prints on the standard output when it is imported and when a session starts."""
    code = f"from edgepress import runtime\nwith runtime.open({str(artifact.path)!r}): print('ours')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "ours\n"
