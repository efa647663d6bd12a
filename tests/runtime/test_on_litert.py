"""The LiteRT runner: layouts, integers at the ends, batches, threads and broken files."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tflite_files import quantized
from torch import Tensor, nn

from edgepress import convert, runtime
from edgepress.artifact import Artifact
from edgepress.errors import BadInput, UnsupportedTarget
from edgepress.program import Program
from edgepress.runtime import _litert_trace
from edgepress.runtime._quiet import without_line

pytestmark = pytest.mark.tflite
pytest.importorskip("ai_edge_litert")


class TwoWays(nn.Module):
    """A picture and features in, a picture and features out."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 4, 3, padding=1)
        self.head = nn.Linear(5, 4)

    def forward(self, picture: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        mixed = self.convolution(picture) * self.head(features)[:, :, None, None]
        return mixed, mixed.mean((2, 3))


@pytest.fixture
def program() -> Program:
    return Program.capture(TwoWays(), (torch.randn(2, 3, 6, 8), torch.randn(2, 5)))


@pytest.fixture
def artifact(program: Program, tmp_path: Path) -> Artifact:
    return convert.to(program, "tflite", tmp_path / "two.tflite", {"batch": 2})


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("samples", [1, 2, 5])
def test_arrays_go_in_and_come_out_as_the_network_has_them(
    program: Program, artifact: Artifact, samples: int, threads: int
) -> None:
    inputs = program.signature.example(samples)
    with runtime.open(artifact, threads=threads) as runner:
        picture, features = runner.run(*inputs)
    expected_picture, expected_features = program.run(*inputs)
    np.testing.assert_allclose(picture, expected_picture, atol=1e-5)
    np.testing.assert_allclose(features, expected_features, atol=1e-5)


OPENED = "import os, sys; from edgepress import runtime; runtime.open(sys.argv[1]).__enter__(); os.write(2, b'ours')"
"""In a process of its own, for LiteRT talks of the first file alone."""


def test_what_litert_says_of_every_first_file_is_left_out(artifact: Artifact) -> None:
    done = subprocess.run([sys.executable, "-c", OPENED, artifact.path], capture_output=True, check=True)
    assert done.stderr == b"ours"


def test_nothing_else_is_left_out(capfd: pytest.CaptureFixture[str]) -> None:
    with without_line(b"INFO: known"):
        os.write(2, b"a warning\nINFO: known\nand an end")
    assert capfd.readouterr().err == "a warning\nand an end"


def test_outputs_are_copies_that_the_next_run_leaves_alone(program: Program, artifact: Artifact) -> None:
    first, second = program.signature.example(2, seed=1), program.signature.example(2, seed=2)
    with runtime.open(artifact) as runner:
        kept = runner.run(*first)[0]
        before = kept.copy()
        runner.run(*second)
    np.testing.assert_array_equal(kept, before)


def test_floats_are_rounded_into_an_int8_file_and_back(tmp_path: Path) -> None:
    made = quantized(Program.capture(nn.Conv2d(3, 4, 1), (torch.randn(2, 3, 6, 8),)))
    float_ends = convert.to(made, "tflite", tmp_path / "float.tflite")
    int8_ends = convert.to(made, "tflite", tmp_path / "int8.tflite", {"io": "int8"})
    inputs = made.signature.example(3)
    with runtime.open(float_ends) as first, runtime.open(int8_ends) as second:
        np.testing.assert_allclose(first.run(*inputs)[0], second.run(*inputs)[0], atol=1e-6)


def test_an_array_that_does_not_fit_is_refused(artifact: Artifact) -> None:
    with runtime.open(artifact) as runner, pytest.raises(BadInput, match="takes float32 2x3x6x8"):
        runner.run(np.zeros((2, 3, 6, 7), np.float32), np.zeros((2, 5), np.float32))


def test_a_file_cut_off_is_refused_with_the_reason(artifact: Artifact) -> None:
    content = artifact.path.read_bytes()
    artifact.path.write_bytes(content[: len(content) // 2])
    with pytest.raises(BadInput, match="LiteRT does not load this file"), runtime.open(artifact):
        pass


def test_a_file_of_something_else_is_refused_with_the_reason(artifact: Artifact) -> None:
    artifact.path.write_bytes(b"not a flatbuffer at all, but long enough to look at")
    with pytest.raises(BadInput, match="LiteRT does not load this file"), runtime.open(artifact):
        pass


def test_a_file_that_is_gone_is_refused(artifact: Artifact) -> None:
    artifact.path.unlink()
    with pytest.raises(BadInput, match="does not exist"), runtime.open(artifact):
        pass


def test_other_formats_are_refused(program: Program, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedTarget, match="litert does not run"):
        runtime.open(program.save(tmp_path / "two.pt2"), "cpu:litert")


def test_operators_are_timed_under_the_users_names(
    program: Program, artifact: Artifact, capfd: pytest.CaptureFixture[str]
) -> None:
    with runtime.open(artifact, threads=2) as runner:
        runner.run(*program.signature.example(2))
        capfd.readouterr()
        times = runner.profile(2)
    assert capfd.readouterr() == ("", ""), "LiteRT's remarks on its own start"
    layers = [layer for time in times for layer in time.layers]
    assert (layers.count("convolution"), layers.count("head")) == (1, 1)
    assert next(time for time in times if "head" in time.layers).type.startswith("Fully Connected")


def test_what_runs_outside_of_the_delegate_is_timed_too(tmp_path: Path) -> None:
    class Sums(nn.Module):
        def forward(self, features: Tensor) -> Tensor:
            return torch.abs(features.cumsum(1)) + 1

    program = Program.capture(Sums(), (torch.randn(2, 5),))
    with runtime.open(convert.to(program, "tflite", tmp_path / "sums.tflite")) as runner:
        runner.run(*program.signature.example(1))
        assert [time.layers for time in runner.profile(1)] == [("cumsum",), ("abs_1",), ("add",)]


def test_a_version_whose_library_is_not_known_tells_no_times(
    program: Program, artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_litert_trace, "KNOWN", ("0.0.",))
    with runtime.open(artifact) as runner:
        runner.run(*program.signature.example(2))
        assert runner.profile(3) == ()


def test_inputs_that_the_manifest_does_not_state_are_told(artifact: Artifact, tmp_path: Path) -> None:
    signature = artifact.manifest.signature
    other = replace(signature, inputs=tuple(replace(spec, shape=(2, 7)) for spec in signature.inputs))
    path = tmp_path / "other.tflite"
    path.write_bytes(artifact.path.read_bytes())
    lying = Artifact.describe(path, replace(artifact.manifest, signature=other))
    with pytest.raises(BadInput, match="not match its manifest: its inputs"), runtime.open(lying) as runner:
        runner.run(*other.example(2))
