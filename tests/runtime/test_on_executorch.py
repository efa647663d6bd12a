"""Running an ExecuTorch file on ExecuTorch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tiny_networks

from edgepress import convert, runtime
from edgepress.artifact import Artifact
from edgepress.errors import BadInput
from edgepress.program import Program
from edgepress.runtime.on_executorch import ExecuTorchRunner

pytest.importorskip("executorch", reason="needs the executorch extra")
pytestmark = pytest.mark.executorch

FLOAT = {"rtol": 1e-4, "atol": 1e-5}
"""Other kernels add in another order: some units in the last place of float32."""


@pytest.fixture(scope="module")
def program() -> Program:
    return tiny_networks.capture(tiny_networks.Separable)


@pytest.fixture(scope="module")
def artifact(program: Program, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return convert.to(program, "pte", tmp_path_factory.mktemp("pte") / "model.pte")


def test_is_the_runner_of_pte(artifact: Artifact) -> None:
    assert runtime.runners_of("pte") == ("executorch",)
    assert isinstance(runtime.open(artifact), ExecuTorchRunner)


def test_open_runners_with_other_threads_take_turns(program: Program, artifact: Artifact) -> None:
    """ExecuTorch's thread pool is the process's, and what was loaded keeps a pointer to it."""
    first, second = program.signature.example(1, seed=1), program.signature.example(1, seed=2)
    with runtime.open(artifact, threads=1) as one, runtime.open(artifact, threads=2) as two:
        for _ in range(3):
            for runner, inputs in ((one, first), (two, second), (two, first)):
                np.testing.assert_allclose(runner.run(*inputs)[0], program.run(*inputs)[0], **FLOAT)
        one.load_inputs(first)
        two.load_inputs(second)
        for _ in range(2):
            one.invoke()
            two.invoke()
            for runner, inputs in ((one, first), (two, second)):
                np.testing.assert_allclose(runner.read_outputs()[0], program.run(*inputs)[0], **FLOAT)


def test_inputs_are_left_as_they_are(program: Program, artifact: Artifact) -> None:
    """They are read in place, and another run follows without loading them again."""
    (array,) = program.signature.example(1)
    kept = array.copy()
    with runtime.open(artifact) as runner:
        runner.load_inputs((array,))
        outputs = []
        for _ in range(2):
            runner.invoke()
            outputs.append(runner.read_outputs()[0])
    np.testing.assert_array_equal(array, kept)
    np.testing.assert_array_equal(*outputs)


def test_profile_tells_every_operator(program: Program, artifact: Artifact) -> None:
    with runtime.open(artifact) as runner:
        runner.load_inputs(program.signature.example(1))
        times = runner.profile(3)
    # Two pointwise convolutions and the classifier are matrix products, the third convolution is depthwise.
    assert sum("Fully Connected" in time.type for time in times) == 3
    assert sum("DWConv" in time.type for time in times) == 1
    assert len({time.name for time in times}) == len(times)
    layers = [layer for time in times for layer in time.layers]
    assert [name for name in layers if "." in name] == [
        "expand.0",
        "depthwise.0",
        "project.0",
        "classifier.1",
    ]


@pytest.mark.parametrize(
    "content", [b"no program at all, but long enough to look at" * 9, b"x", bytes(range(200, 256)) * 9]
)
def test_a_file_of_something_else_is_refused_in_our_words_only(
    artifact: Artifact, content: bytes, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "model.pte"
    path.write_bytes(content)
    with (
        pytest.raises(BadInput, match="ExecuTorch does not load this file"),
        runtime.open(Artifact.describe(path, artifact.manifest)),
    ):
        pass
    assert capfd.readouterr().err == ""
