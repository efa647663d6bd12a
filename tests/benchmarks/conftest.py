"""Runners and measurements that these tests are about: real computations in NumPy, with durations under control."""

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from edgepress.accuracy import Accuracy
from edgepress.artifact import Artifact, Manifest, Verification
from edgepress.benchmarks import MEASUREMENTS_FILE, Environment, Measurement, append
from edgepress.history import History, Step
from edgepress.result import AccuracyChange, LayerFacts, NetworkFacts, RunResult, StageResult
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
    def make(name: str, busy_ms: float = 0.0, batch: int | None = None, width: int = 8) -> MatrixRunner:
        path = tmp_path / f"{name}.npy"
        np.save(path, np.eye(8, width, dtype=np.float32))
        signature = Signature((TensorSpec("x", (batch, 8)),), (TensorSpec("y", (batch, width)),))
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
            "size_bytes": 1000, "device": "cpu", "runner": "onnxruntime", "threads": 1, "batch": 1, "load_ms": 1.0,
            "first_inference_ms": 2.0, "environment": environment,
        }  # fmt: skip
        return Measurement(**{**facts, "latency_ms": tuple(latency_ms), **changes})

    return make


@pytest.fixture
def run_folder(tmp_path: Path, make_measurement: MakeMeasurement) -> Path:
    """A run: pruned to a third, one file passed, one failed, one never checked; two runtimes, one interleaved pair."""
    folder = tmp_path / "run"
    folder.mkdir()
    _result().save(folder)
    (folder / "recipe.yaml").write_text("stages:\n- prune_channels: {macs: 0.5}\n")
    _file(
        folder / "original.onnx",
        4000,
        Verification(status="passed", runner="onnxruntime", reference="program"),
    )
    pruned = Step("prune_channels", {"macs": 0.5})
    _file(folder / "model.onnx", 1500, Verification(status="failed", results={"sqnr_db": 3.25}), pruned)
    _file(
        folder / "model.tflite",
        1200,
        Verification(status="skipped", results={"reason": "<no runtime>"}),
        pruned,
    )
    random = np.random.default_rng(0)
    together = {"rounds": 5, "comparison": "one"}
    original, model = (random.normal(level, 0.02 * level, 50).tolist() for level in (2.0, 0.9))
    of_original = {
        "name": "original.onnx",
        "path": "original.onnx",
        "size_bytes": 4000,
        "steps": ("program_to_onnx",),
    }
    of_model = {"name": "model.onnx", "path": "model.onnx", "size_bytes": 1500,
                "steps": ("prune_channels", "program_to_onnx"), "accuracy": Accuracy(97.5, 99.0, 200)}  # fmt: skip
    append(folder / MEASUREMENTS_FILE, [
        make_measurement(original, **of_original, **together),
        make_measurement(model, **of_model, **together, layers=(LayerTime("conv1", "Conv", 0.5),)),
        make_measurement([8.0, 9.0, 10.0], **of_model, runner="other", warnings=("Too few.",)),
    ])  # fmt: skip
    return folder


def _result() -> RunResult:
    layers = (LayerFacts(name="conv1", type="conv2d", parameters=900, macs=3_000_000),
              LayerFacts(name="fc", type="linear", parameters=100, macs=100),
              LayerFacts(name="odd", type="strange", macs=None))  # fmt: skip
    pruned = (LayerFacts(name="conv1", type="conv2d", parameters=300, macs=1_000_000), *layers[1:])
    before, after = Accuracy(98.0, 99.5, 200), Accuracy(97.25, 99.0, 200)
    original = NetworkFacts(parameters=1000, macs=3_000_100, weight_bytes=4000, size_bytes=9000,
                            accuracy=before, layers=layers)  # fmt: skip
    compressed = NetworkFacts(parameters=400, macs=1_000_100, weight_bytes=1600, size_bytes=6000,
                              accuracy=after, layers=pruned)  # fmt: skip
    stage = StageResult(name="prune_channels", options={"macs": 0.5}, parameters=400, macs=1_000_100, weight_bytes=1600,
                        size_bytes=6000, accuracy=AccuracyChange(before=before, after=after), seconds=75.0)  # fmt: skip
    return RunResult(model="tiny", data="digits", original=original, compressed=compressed, stages=(stage,))


def _file(path: Path, size_bytes: int, verification: Verification, *stages: Step) -> None:
    path.write_bytes(bytes(size_bytes))
    signature = Signature((TensorSpec("x", (None, 8)),), (TensorSpec("y", (None, 8)),))
    history = History((*stages, Step(f"program_to_{path.suffix[1:]}")))
    manifest = Manifest(
        format=path.suffix[1:], signature=signature, history=history, verification=verification
    )
    Artifact.describe(path, manifest)


SUITES = Path(__file__).parents[2] / "benchmarks" / "suites"


@pytest.fixture(scope="session")
def suite() -> Callable[[str], ModuleType]:
    """A suite as a module, by its file's name: suites stand in no package."""

    def load(name: str) -> ModuleType:
        if not SUITES.is_dir():
            pytest.skip("the suites are not here")
        spec = importlib.util.spec_from_file_location(f"{name}_suite", SUITES / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        sys.path.append(str(SUITES))
        try:
            spec.loader.exec_module(module)
        finally:
            sys.path.remove(str(SUITES))
        return module

    return load
