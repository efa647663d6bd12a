"""Runs ncnn files on ncnn's CPU kernels, one sample at a time."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from edgepress.errors import BadInput
from edgepress.layer_output import LayerOutput
from edgepress.ncnn_file import NCNN_FORMAT, unpack
from edgepress.runtime._ncnn_layers import INPUT, WEIGHTED, layer_time
from edgepress.runtime._runner import LayerTime, Runner

AS_IT_LIES = 1
"""How `extract` is told to hand a result over in the order that ncnn computes in, without the work of turning it."""


class NcnnRunner(Runner):
    """One ncnn net with `threads` threads; its tensors have no batch axis.

    A float32 file is executed in float32, whatever the processor has; for float16 and int8 files ncnn chooses by
    the processor, as it does on a phone.
    """

    formats: ClassVar[tuple[str, ...]] = (NCNN_FORMAT,)
    requires: ClassVar[tuple[str, ...]] = ("ncnn",)
    extra: ClassVar[str] = "ncnn"

    def open(self) -> None:
        import ncnn

        net = ncnn.Net()
        net.opt.num_threads = self.threads
        if self.artifact.manifest.precision == "float32":
            for name in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_storage", "bf16_packed"):
                setattr(net.opt, f"use_{name}", False)
        with tempfile.TemporaryDirectory(prefix="edgepress-") as folder:
            graph, weights = unpack(self.artifact.path, Path(folder))
            if net.load_param(str(graph)) or net.load_model(str(weights)):
                raise BadInput(
                    "ncnn does not load this file.",
                    where=str(self.artifact.path.absolute()),
                    hint="convert it again; it may be made for a newer ncnn",
                )
        self._net, self._inputs, self._outputs = net, self._named("in"), self._named("out")
        are_floats = all(spec.dtype == "float32" for spec in self.artifact.manifest.signature.inputs)
        if not are_floats or {*self._inputs, *self._outputs} - {blob.name for blob in net.blobs()}:
            # ncnn would read beyond the end of arrays of other types.
            raise self._has_other_ends()
        self._loaded: list[Any] = []
        self._results: list[Any] = []

    def close(self) -> None:
        self._results, self._loaded = [], []
        self._net.clear()

    def load_inputs(self, arrays: Sequence[np.ndarray]) -> None:
        import ncnn

        # The clone owns its memory, in the alignment that the kernels like.
        self._loaded = [ncnn.Mat(np.ascontiguousarray(array[0])).clone() for array in arrays]

    def invoke(self) -> None:
        extractor = self._net.create_extractor()
        for name, value in zip(self._inputs, self._loaded, strict=True):
            extractor.input(name, value)
        found = [extractor.extract(name) for name in self._outputs]
        if any(status for status, _ in found):
            raise self._failed("ncnn")
        self._results = [value for _, value in found]

    def read_outputs(self) -> tuple[np.ndarray, ...]:
        specs = self.artifact.manifest.signature.outputs
        arrays = [np.array(value) for value in self._results]
        if [array.size for array in arrays] != [math.prod(spec.with_batch(1)) for spec in specs]:
            raise self._has_other_ends()
        return tuple(
            array.astype(spec.dtype).reshape(spec.with_batch(1))
            for spec, array in zip(specs, arrays, strict=True)
        )

    def profile(self, runs: int) -> tuple[LayerTime, ...]:
        """Times of each layer, on the inputs loaded last; the first run does not count.

        ncnn's wheel has no profiler: but it executes no more than it is asked for, so each layer's result is asked for in
        turn. Since nothing is thrown away meanwhile, layers that work in place copy their input first.
        """
        samples_ms: dict[tuple[str, str], list[float]] = {}
        for _ in range(runs + 1):
            for key, elapsed_ms in self._layer_by_layer():
                samples_ms.setdefault(key, []).append(elapsed_ms)
        return tuple(
            layer_time(name, type, times[1:]) for (name, type), times in samples_ms.items() if len(times) > 1
        )

    def _layer_by_layer(self) -> Iterator[tuple[tuple[str, str], float]]:
        """Name and type of each layer in order, and how much longer its result took than the same once more, when it is
        only handed over."""
        extractor = self._net.create_extractor()
        extractor.set_light_mode(False)
        for name, value in zip(self._inputs, self._loaded, strict=True):
            extractor.input(name, value)
        for layer in self._net.layers():
            if layer.type != INPUT:
                first_ms, again_ms = (self._extract_ms(extractor, layer.tops) for _ in range(2))
                yield (layer.name, layer.type), max(first_ms - again_ms, 0.0)

    def _extract_ms(self, extractor: Any, blobs: Sequence[int]) -> float:
        started = time.perf_counter()
        for blob in blobs:
            extractor.extract(blob, AS_IT_LIES)
        return 1e3 * (time.perf_counter() - started)

    def read_layers(self, arrays: Sequence[np.ndarray]) -> tuple[LayerOutput, ...]:
        """Of the layers with weights: only these bear the user's names."""
        self.load_inputs(arrays)
        extractor = self._net.create_extractor()
        extractor.set_light_mode(False)
        for name, value in zip(self._inputs, self._loaded, strict=True):
            extractor.input(name, value)
        blobs = self._net.blobs()
        found = []
        for layer in self._net.layers():
            if layer.type.startswith(WEIGHTED):
                status, value = extractor.extract(blobs[layer.tops[0]].name)
                if not status:
                    found.append(LayerOutput(layer.name, layer.type, np.array(value, np.float32)[None]))
        return tuple(found)

    def _has_other_ends(self) -> BadInput:
        return self.artifact.other_than_stated("its inputs or outputs are others")

    def _named(self, kind: str) -> list[str]:
        """in0, in1, ... and out0, ...: as many as the signature has."""
        signature = self.artifact.manifest.signature
        return [f"{kind}{place}" for place in range(len(getattr(signature, f"{kind}puts")))]
