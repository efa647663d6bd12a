"""Running a program on PyTorch."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import tiny_networks
import torch

from edgepress import runtime
from edgepress.artifact import Artifact
from edgepress.program import Program
from edgepress.runtime.on_torch import TorchRunner


@pytest.fixture(scope="module")
def program() -> Program:
    return tiny_networks.capture(tiny_networks.Residual)


@pytest.fixture(scope="module")
def artifact(program: Program, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return program.save(tmp_path_factory.mktemp("torch") / "model.pt2")


@pytest.fixture
def runner(artifact: Artifact) -> Iterator[runtime.Runner]:
    with runtime.open(artifact) as opened:
        yield opened


def test_is_the_runner_of_programs(runner: runtime.Runner) -> None:
    assert isinstance(runner, TorchRunner)
    assert runner.name() == "torch"


@pytest.mark.parametrize("batch", [1, 5])
def test_answers_as_the_program(runner: runtime.Runner, program: Program, batch: int) -> None:
    inputs = program.signature.example(batch)
    np.testing.assert_array_equal(runner.run(*inputs)[0], program.run(*inputs)[0])


def test_outputs_are_copies(runner: runtime.Runner, program: Program) -> None:
    inputs = program.signature.example(2)
    (first,) = runner.run(*inputs)
    first[:] = 0
    assert np.any(runner.read_outputs()[0])


def test_gives_the_thread_count_back(artifact: Artifact) -> None:
    before = torch.get_num_threads()
    with runtime.open(artifact, threads=before + 1) as runner:
        runner.run(*artifact.manifest.signature.example(1))
        runner.profile(1)
        assert torch.get_num_threads() == before


def test_profile_speaks_of_the_users_layers(runner: runtime.Runner, program: Program) -> None:
    runner.load_inputs(program.signature.example(4))
    times = runner.profile(3)
    assert {("stem", "conv2d"), ("norm", "batch_norm"), ("head", "linear")} <= {
        (t.name, t.type) for t in times
    }
    assert all(time.latency_ms > 0 for time in times)
