"""Runs OpenVINO files on OpenVINO's CPU plugin."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from edgepress.errors import BadInput
from edgepress.layer_output import LayerOutput
from edgepress.openvino_file import OPENVINO_FORMAT, openvino, reason, unpack
from edgepress.runtime._openvino_fusion import fused_layers
from edgepress.runtime._openvino_taps import Tap, tapped
from edgepress.runtime._runner import LayerTime, Runner

OPTIONS = {
    "INFERENCE_PRECISION_HINT": "f32",
    "PERFORMANCE_HINT": "LATENCY",
    "NUM_STREAMS": 1,
    "ENABLE_CPU_PINNING": False,
}
"""What is not int8 is computed in float32, not in the bfloat16 that newer processors are given by default; one request
at a time has all threads, and they may move between cores, as those of every other runner."""


class OpenVINORunner(Runner):
    """One request with `threads` threads; inputs are read where they lie."""

    formats: ClassVar[tuple[str, ...]] = (OPENVINO_FORMAT,)
    requires: ClassVar[tuple[str, ...]] = ("openvino",)
    extra: ClassVar[str] = "openvino"

    def open(self) -> None:
        with tempfile.TemporaryDirectory(prefix="edgepress-") as folder:
            graph, weights = unpack(self.artifact.path, Path(folder))
            try:
                # From memory: a file would be read lazily, and this one is about to go.
                self._model = (
                    openvino().Core().read_model(graph.read_text(encoding="utf-8"), _tensor(weights))
                )
            except (RuntimeError, UnicodeDecodeError) as error:
                raise self._refused(reason(error)) from None
        self._check_ends(len(self._model.inputs), len(self._model.outputs))
        self._request = self._new_request(self._model)
        self._tapped: tuple[Any, tuple[Tap, ...]] | None = None

    def close(self) -> None:
        del self._request, self._model, self._tapped

    def load_inputs(self, arrays: Sequence[np.ndarray]) -> None:
        self._inputs = [np.ascontiguousarray(array) for array in arrays]
        self._bind(self._request)

    def invoke(self) -> None:
        self._infer(self._request)

    def _infer(self, request: Any) -> None:
        try:
            request.infer()
        except RuntimeError as error:
            raise self._failed("OpenVINO", reason(error)) from None

    def read_outputs(self) -> tuple[np.ndarray, ...]:
        outputs = range(len(self.artifact.manifest.signature.outputs))
        return tuple(self._request.get_output_tensor(place).data.copy() for place in outputs)

    def profile(self, runs: int) -> tuple[LayerTime, ...]:
        """Times of each node that OpenVINO's own graph executes, on the inputs loaded last; the first run does not count."""
        request = self._new_request(self._model, PERF_COUNT=True)
        self._bind(request)
        request.infer()
        samples_ms: dict[tuple[str, str], list[float]] = {}
        for _ in range(runs):
            request.infer()
            for node in request.profiling_info:
                if node.status == node.Status.EXECUTED:
                    key = (node.node_name, f"{node.node_type} {node.exec_type}")
                    samples_ms.setdefault(key, []).append(node.real_time.total_seconds() * 1e3)
        layers = fused_layers(request.get_compiled_model().get_runtime_model())
        return tuple(
            LayerTime(name, type, statistics.median(times), layers.get(name, ()))
            for (name, type), times in samples_ms.items()
        )

    def read_layers(self, arrays: Sequence[np.ndarray]) -> tuple[LayerOutput, ...]:
        """Of a copy of the network with more outputs, under the names that the ONNX file gave."""
        request, taps = self._tapped = self._tapped or self._tap()
        self.load_inputs(arrays)
        self._bind(request)
        self._infer(request)
        return tuple(
            LayerOutput(tap.layer, tap.type, request.get_output_tensor(tap.place).data.copy()) for tap in taps
        )

    def _tap(self) -> tuple[Any, tuple[Tap, ...]]:
        model, taps = tapped(self._model)
        return self._new_request(model), taps

    def _new_request(self, model: Any, **options: object) -> Any:
        threads = {"INFERENCE_NUM_THREADS": self.threads}
        try:
            compiled = openvino().Core().compile_model(model, "CPU", OPTIONS | threads | options)
        except RuntimeError as error:
            raise self._refused(reason(error)) from None
        return compiled.create_infer_request()

    def _bind(self, request: Any) -> None:
        for place, array in enumerate(self._inputs):
            request.set_input_tensor(place, openvino().Tensor(array, shared_memory=True))

    def _refused(self, why: str) -> BadInput:
        return BadInput(
            f"OpenVINO does not load this file: {why}.",
            where=str(self.artifact.path.absolute()),
            hint="convert it again; it may be made for a newer OpenVINO",
        )


def _tensor(weights: Path) -> Any:
    return openvino().Tensor(np.fromfile(weights, np.uint8))
