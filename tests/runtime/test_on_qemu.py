"""Emulated ARM64 processors: the runtimes' kernels for them compute what those of this machine do, and are counted."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import emulated
import numpy as np
import pytest
import real_sshd
import tiny_networks

from edgepress import benchmarks, compress, convert, runtime
from edgepress.artifact import Artifact
from edgepress.benchmarks import Protocol
from edgepress.compress.quantize_static import QuantizeStatic
from edgepress.devices import Launcher
from edgepress.devices.qemu import Qemu
from edgepress.devices.ssh import Ssh
from edgepress.program import Program
from edgepress.recipe import Recipe
from edgepress.runtime import Target

pytestmark = [pytest.mark.qemu, pytest.mark.slow]

RUNTIMES = {"onnx": "onnxruntime", "tflite": "ai_edge_litert", "ncnn": "ncnn"}

FLOAT_TOLERANCE = 1e-5
"""Of outputs around 1: sums of float32 in another order differ by some units in the last place (6e-8) for each of
hundreds of products."""

MOST_SPREAD = 0.005
"""Of networks that take a million instructions or more: the interpreter around them adds some thousands, not always as many."""


@dataclass(frozen=True)
class EmulatedBoard(Ssh):
    """An ARM64 board at the other end of SSH, as far as this machine can be one."""

    def launcher(self) -> Launcher:
        return Qemu("cortex-a76").launcher()


@pytest.fixture(scope="module", autouse=True)
def made() -> None:
    emulated.made()


@pytest.fixture(scope="module")
def programs() -> dict[str, Program]:
    program = tiny_networks.capture(tiny_networks.Residual)
    recipe = Recipe((QuantizeStatic(samples=64),))
    return {"float32": program, "int8": compress.apply(program, recipe, tiny_networks.Patches(64))}


def converted(programs: dict[str, Program], precision: str, format: str, folder: Path) -> Artifact:
    pytest.importorskip(RUNTIMES[format])
    return convert.to(programs[precision], format, folder / f"{precision}.{format}")


def outputs(artifact: Artifact, target: str, samples: int = 2) -> np.ndarray:
    with runtime.open(artifact, target) as runner:
        (found,) = runner.run(*artifact.manifest.signature.example(samples, seed=1))
    return found


@pytest.mark.parametrize("profile", ["cortex-a72", "cortex-a76"])
@pytest.mark.parametrize("format", ["onnx", "tflite"])
def test_integers_are_the_same_bit_by_bit(
    programs: dict[str, Program], format: str, profile: str, tmp_path: Path
) -> None:
    artifact = converted(programs, "int8", format, tmp_path)
    np.testing.assert_array_equal(outputs(artifact, f"qemu:{profile}"), outputs(artifact, "cpu"))


@pytest.mark.parametrize("format", RUNTIMES)
def test_floats_are_the_same_but_for_the_order_of_sums(
    programs: dict[str, Program], format: str, tmp_path: Path
) -> None:
    artifact = converted(programs, "float32", format, tmp_path)
    np.testing.assert_allclose(
        outputs(artifact, "qemu:cortex-a76"), outputs(artifact, "cpu"), atol=FLOAT_TOLERANCE, rtol=0
    )


def test_instructions_are_repeatable_and_tell_which_processor_has_dot_products(
    programs: dict[str, Program], tmp_path: Path
) -> None:
    artifacts = [converted(programs, precision, "onnx", tmp_path) for precision in programs]
    targets = ("qemu:cortex-a76", "qemu:cortex-a72")
    runners = [runtime.open(artifact, target) for target in targets for artifact in artifacts]
    measured = benchmarks.compare(runners, Protocol(batch=8, counted_runs=4))
    for one in measured:
        assert one.emulated
        assert (one.latency_ms, one.median_ms, one.load_ms, one.first_inference_ms, one.cpu_ms) == (
            (),
            *[None] * 4,
        )
        assert len(one.instructions) == 4
        assert one.instruction_spread is not None
        assert one.instruction_spread < MOST_SPREAD
        assert one.environment.machine == "aarch64"
    ratios = [benchmarks.ratio(*measured[place : place + 2]).value for place in (0, 2)]
    assert ratios[0] < ratios[1]  # of int8 to float32: the A72 has no instruction for sums of int8 products


def test_a_board_behind_ssh_answers_and_is_counted_as_the_one_here(
    programs: dict[str, Program], tmp_path: Path
) -> None:
    board = real_sshd.board(tmp_path, fetch=True)
    artifact = converted(programs, "int8", "onnx", tmp_path)
    inputs = artifact.manifest.signature.example(2, seed=1)
    with board.on_path():
        there = runtime.open(artifact, Target(EmulatedBoard(real_sshd.NAME)))
        with there:
            (got,) = there.run(*inputs)
        near, far = benchmarks.compare(
            [runtime.open(artifact, "qemu:cortex-a76"), there], Protocol(batch=8, counted_runs=4)
        )
    np.testing.assert_array_equal(got, outputs(artifact, "cpu"))
    assert (far.latency_ms, far.emulated) == ((), True)
    assert benchmarks.ratio(near, far).value == pytest.approx(1, abs=MOST_SPREAD)
