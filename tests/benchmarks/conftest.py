"""Runners and measurements that these tests are about: real computations in NumPy, with durations under control."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from edgepress.artifact import Artifact, Manifest
from edgepress.benchmarks import Environment, Measurement
from edgepress.runtime import LayerTime, Runner
from edgepress.signature import Signature, TensorSpec


class MatrixRunner(Runner):
    """Multiplies by the matrix in its file and returns no sooner than `busy_ms` after it was called."""

    formats = ("npy",)
    requires = ("numpy",)
    busy_ms = 0.0
    log: list[str]

    def open(self) -> None:
        self._matrix = np.load(self.artifact.path)
        self.log.append(f"open {self.artifact.path.stem}")

    def close(self) -> None:
        self.__dict__.pop("_output", None)
        del self._matrix
        self.log.append(f"close {self.artifact.path.stem}")

    def load_inputs(self, arrays: Sequence[np.ndarray]) -> None:
        (self._input,) = arrays

    def invoke(self) -> None:
        until = time.perf_counter() + self.busy_ms / 1000
        self.log.append(self.artifact.path.stem)
        self._output = self._input @ self._matrix
        while time.perf_counter() < until:
            pass

    def read_outputs(self) -> tuple[np.ndarray, ...]:
        return (self._output.copy(),)

    def profile(self, runs: int) -> tuple[LayerTime, ...]:
        return (LayerTime("product", "matmul", self.busy_ms),)


MakeRunner = Callable[..., MatrixRunner]
MakeMeasurement = Callable[..., Measurement]


@pytest.fixture
def log() -> list[str]:
    """What the runners of this test did, in order: `open x`, `close x`, and `x` for one invocation."""
    return []


@pytest.fixture
def make_runner(tmp_path: Path, log: list[str]) -> MakeRunner:
    def make(name: str, busy_ms: float = 0.0, batch: int | None = None) -> MatrixRunner:
        path = tmp_path / f"{name}.npy"
        np.save(path, np.eye(8, dtype=np.float32))
        signature = Signature((TensorSpec("x", (batch, 8)),), (TensorSpec("y", (batch, 8)),))
        runner = MatrixRunner(Artifact.describe(path, Manifest(format="npy", signature=signature)))
        runner.busy_ms, runner.log = busy_ms, log
        return runner

    return make


@pytest.fixture(scope="session")
def environment() -> Environment:
    return Environment.read()


@pytest.fixture
def make_measurement(environment: Environment) -> MakeMeasurement:
    def make(latency_ms: Sequence[float], **changes: object) -> Measurement:
        facts = {
            "name": "model.onnx", "path": "model.onnx", "format": "onnx", "precision": "float32", "sha256": "0" * 64,
            "size_bytes": 1000, "target": "cpu", "runner": "onnxruntime", "threads": 1, "batch": 1, "load_ms": 1.0,
            "first_inference_ms": 2.0, "environment": environment,
        }  # fmt: skip
        return Measurement(**{**facts, "latency_ms": tuple(latency_ms), **changes})

    return make
