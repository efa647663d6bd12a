"""The native runner: the same answers as ncnn's own package, here and on an emulated processor, in few bytes."""

from __future__ import annotations

import platform
import struct
import subprocess
from pathlib import Path

import emulated
import numpy as np
import pytest
import tiny_networks

from edgepress import benchmarks, compress, convert, native, runtime
from edgepress.artifact import Artifact
from edgepress.benchmarks import Protocol
from edgepress.compress.quantize_static import QuantizeStatic
from edgepress.errors import BackendMissing
from edgepress.recipe import Recipe
from edgepress.serving import READY

FLOAT_TOLERANCE = 1e-5
"""Sums of float32 in another order."""

MOST_BYTES = 2_000_000


def program(processor: str) -> Path:
    try:
        return native.require(processor)
    except BackendMissing as error:
        pytest.skip(f"{error.what} {error.hint}")


@pytest.fixture(scope="module", params=["float32", "int8"])
def artifact(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    pytest.importorskip("ncnn")
    pytest.importorskip("pnnx")
    made = tiny_networks.capture(tiny_networks.Separable)
    if request.param == "int8":
        made = compress.apply(made, Recipe((QuantizeStatic(samples=64),)), tiny_networks.Patches(64))
    return convert.to(made, "ncnn", tmp_path_factory.mktemp("ncnn") / "model.ncnn")


def outputs(artifact: Artifact, target: str) -> np.ndarray:
    with runtime.open(artifact, target) as runner:
        (found,) = runner.run(*artifact.manifest.signature.example(2, seed=1))
    return found


@pytest.mark.ncnn
def test_measures_itself_here(artifact: Artifact) -> None:
    program(platform.machine())
    runner = runtime.open(artifact, "cpu:ncnn_native")
    quick = Protocol(
        rounds=2, min_runs=4, min_seconds=0, min_warmup_runs=1, max_warmup_runs=2, profile_runs=2
    )
    ours, theirs = benchmarks.compare([runner, runtime.open(artifact, "cpu:ncnn")], quick)
    assert (ours.runner, len(ours.latency_ms), ours.emulated) == ("ncnn_native", 4, False)
    assert all(time_ms > 0 for time_ms in (*ours.latency_ms, ours.load_ms, ours.cpu_ms))
    assert ours.peak_memory_mb > 0
    assert ours.comparison == theirs.comparison
    assert [(layer.name, layer.type) for layer in ours.layers] == [
        (layer.name, layer.type) for layer in theirs.layers
    ]
    assert all(layer.latency_ms > 0 for layer in ours.layers)
    assert ours.environment.packages.keys() == {"ncnn"}
    assert ours.environment.processor == theirs.environment.processor


@pytest.mark.ncnn
@pytest.mark.parametrize(
    "rubbish", [b"", b"x" * 8, struct.pack("<Q", 5) + b"{[}]:", struct.pack("<Q", 1 << 40)]
)
def test_ends_at_what_is_no_message(rubbish: bytes) -> None:
    done = subprocess.run([program(platform.machine())], input=rubbish, capture_output=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, READY)


@pytest.mark.qemu
@pytest.mark.slow
def test_is_the_same_on_an_emulated_processor_where_it_is_counted(artifact: Artifact) -> None:
    emulated.made()
    assert program("aarch64").stat().st_size < MOST_BYTES
    target = "qemu:cortex-a76#ncnn_native"
    got, want = outputs(artifact, target), outputs(artifact, "cpu:ncnn")
    step = 0.0 if artifact.manifest.precision == "float32" else np.ptp(want) / 100
    np.testing.assert_allclose(got, want, atol=FLOAT_TOLERANCE + step, rtol=0)
    (measured,) = benchmarks.compare([runtime.open(artifact, target)], Protocol(counted_runs=4))
    assert (measured.emulated, measured.latency_ms, measured.median_ms) == (True, (), None)
    assert len(measured.instructions) == 4
    assert measured.instruction_spread < 0.005
