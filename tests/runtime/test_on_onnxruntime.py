"""Running an ONNX file on ONNX Runtime."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tiny_networks

from edgepress import convert, runtime
from edgepress.artifact import Artifact
from edgepress.errors import BadInput, DeviceFailed
from edgepress.program import Program
from edgepress.runtime.on_onnxruntime import OnnxRuntimeRunner

FLOAT = {"rtol": 1e-4, "atol": 1e-5}
"""Other kernels add in another order: some units in the last place of float32."""


@pytest.fixture(scope="module")
def program() -> Program:
    return tiny_networks.capture(tiny_networks.Residual)


@pytest.fixture(scope="module")
def artifact(program: Program, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return convert.to(program, "onnx", tmp_path_factory.mktemp("onnx") / "model.onnx")


@pytest.fixture
def runner(artifact: Artifact) -> Iterator[runtime.Runner]:
    with runtime.open(artifact) as opened:
        yield opened


def test_is_the_runner_of_onnx(runner: runtime.Runner) -> None:
    assert isinstance(runner, OnnxRuntimeRunner)
    assert runner.name() == "onnxruntime"


@pytest.mark.parametrize("batch", [1, 5])
def test_answers_as_the_program(runner: runtime.Runner, program: Program, batch: int) -> None:
    inputs = program.signature.example(batch)
    np.testing.assert_allclose(runner.run(*inputs)[0], program.run(*inputs)[0], **FLOAT)


def test_new_inputs_of_another_batch_replace_the_old(runner: runtime.Runner, program: Program) -> None:
    for batch in (3, 1, 4):
        inputs = program.signature.example(batch, seed=batch)
        np.testing.assert_allclose(runner.run(*inputs)[0], program.run(*inputs)[0], **FLOAT)


def test_inputs_need_not_be_contiguous(runner: runtime.Runner, program: Program) -> None:
    (array,) = program.signature.example(4)
    turned = array.transpose(0, 1, 3, 2)
    np.testing.assert_allclose(runner.run(turned)[0], program.run(np.ascontiguousarray(turned))[0], **FLOAT)


def test_threads_change_nothing_but_the_time(artifact: Artifact, program: Program) -> None:
    inputs = program.signature.example(4)
    with runtime.open(artifact, threads=2) as runner:
        np.testing.assert_allclose(runner.run(*inputs)[0], program.run(*inputs)[0], **FLOAT)


def test_a_file_it_refuses_is_bad_input(program: Program, tmp_path: Path) -> None:
    artifact = convert.to(program, "onnx", tmp_path / "broken.onnx")
    artifact.path.write_bytes(artifact.path.read_bytes()[:2000])
    with pytest.raises(BadInput, match="ONNX Runtime .* refuses the file"), OnnxRuntimeRunner(artifact):
        pass


def test_a_failing_run_is_told_with_the_file(runner: runtime.Runner) -> None:
    runner.load_inputs((np.zeros((1, 3, 5, 5), np.float32),))
    with pytest.raises(DeviceFailed, match="ONNX Runtime failed to execute"):
        runner.invoke()


def test_profile_names_the_users_layers(
    runner: runtime.Runner, program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    runner.load_inputs(program.signature.example(1))
    times = runner.profile(3)
    convolutions = [time.layers for time in times if "Conv" in time.type]
    assert convolutions == [("stem", "relu"), ("first", "relu_1"), ("second",)], "fused with what follows"
    assert any(time.latency_ms > 0 for time in times)
    assert list(tmp_path.iterdir()) == [], "the profile must not stay behind"
