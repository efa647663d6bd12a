"""Runs MNN files on MNN's CPU kernels."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from edgepress.errors import BadInput
from edgepress.files import existing_file
from edgepress.layer_output import LayerOutput
from edgepress.runtime._quiet import quiet
from edgepress.runtime._runner import LayerTime, Runner

NO_ERROR = 0
STORED = {"int64": np.int32, "bool": np.int32}
"""What MNN has in place of NumPy's types."""
UNNAMED = {"Raster", "FloatToInt8", "Int8ToFloat"}
"""Operators that MNN puts before a layer, under the layer's name."""
GUARD = "/Max"
"""How the names end of what our conversion to int8 puts behind a layer."""


class MnnRunner(Runner):
    """One session with `threads` threads.

    float32 and int8 files compute what is float in float32, whatever the processor has; for float16 files MNN
    chooses by the processor, as it does on a phone.
    """

    formats: ClassVar[tuple[str, ...]] = ("mnn",)
    requires: ClassVar[tuple[str, ...]] = ("MNN",)
    extra: ClassVar[str] = "mnn"

    def open(self) -> None:
        path = existing_file(self.artifact.path, "MNN file")
        precision = "low" if self.artifact.manifest.precision == "float16" else "high"
        config = {"backend": "CPU", "numThread": self.threads, "precision": precision}
        try:
            with quiet():
                import MNN

                self._mnn = MNN
                self._interpreter = MNN.Interpreter(str(path))
                self._session = self._interpreter.createSession(config)
                names, outputs = self.artifact.manifest.signature.distinct_names()
                self._inputs = [self._interpreter.getSessionInput(self._session, name) for name in names]
                self._outputs = [self._interpreter.getSessionOutput(self._session, name) for name in outputs]
        except Exception as error:  # MNN raises nothing more special
            raise BadInput(
                f"MNN does not load this file: {error}",
                where=str(path.absolute()),
                hint="convert it again; the file may be cut off or made for a newer MNN",
            ) from None
        signature = self.artifact.manifest.signature
        stated = [self._kind(spec.dtype) for spec in (*signature.inputs, *signature.outputs)]
        if stated != [tensor.getDataType() for tensor in (*self._inputs, *self._outputs)]:
            # MNN would say so on the standard output, and go on with what lay in its memory.
            raise self.artifact.other_than_stated("its inputs or outputs are of other types")

    def close(self) -> None:
        del self._inputs, self._outputs, self._session, self._interpreter

    def load_inputs(self, arrays: Sequence[np.ndarray]) -> None:
        shapes = [tuple(tensor.getShape()) for tensor in self._inputs]
        if shapes != [array.shape for array in arrays]:
            for tensor, array in zip(self._inputs, arrays, strict=True):
                self._interpreter.resizeTensor(tensor, array.shape)
            with quiet():
                self._interpreter.resizeSession(self._session)
        for tensor, array in zip(self._inputs, arrays, strict=True):
            stored = np.ascontiguousarray(array, STORED.get(array.dtype.name, array.dtype))
            tensor.copyFrom(self._host(stored))

    def invoke(self) -> None:
        if self._interpreter.runSession(self._session) != NO_ERROR:
            raise self._failed("MNN")

    def read_outputs(self) -> tuple[np.ndarray, ...]:
        specs = self.artifact.manifest.signature.outputs
        return tuple(
            self._read(tensor, np.dtype(spec.dtype))
            for tensor, spec in zip(self._outputs, specs, strict=True)
        )

    def profile(self, runs: int) -> tuple[LayerTime, ...]:
        """Times of each operator between MNN's two callbacks; the first run does not count. What MNN has fused into a
        layer it does not name, and the one that makes an output bears the output's name."""
        samples_ms: dict[tuple[str, str], list[float]] = {}
        started = 0.0

        def before(_tensors: Any, _operator: Any) -> bool:
            nonlocal started
            started = time.perf_counter()
            return True

        def after(_tensors: Any, operator: Any) -> bool:
            elapsed_ms = 1e3 * (time.perf_counter() - started)
            samples_ms.setdefault((operator.getName(), operator.getType()), []).append(elapsed_ms)
            return True

        for _ in range(runs + 1):
            self._interpreter.runSessionWithCallBackInfo(self._session, before, after)
        return tuple(
            LayerTime(name, type, statistics.median(times[1:]), _layers(name, type))
            for (name, type), times in samples_ms.items()
            if len(times) > 1
        )

    def read_layers(self, arrays: Sequence[np.ndarray]) -> tuple[LayerOutput, ...]:
        """Of the operators that bear a layer's name: MNN keeps the ONNX file's `<layer>/<type>`."""
        self.load_inputs(arrays)
        found: list[LayerOutput] = []

        def after(tensors: Any, operator: Any) -> bool:
            layer, slash, _ = operator.getName().partition("/")
            kind = operator.getType().partition(" ")[0]
            if slash and kind not in UNNAMED and tensors[0].getDataType() == self._mnn.Halide_Type_Float:
                found.append(LayerOutput(layer, kind, self._read(tensors[0], np.dtype(np.float32))))
            return True

        self._interpreter.runSessionWithCallBackInfo(self._session, lambda _tensors, _operator: True, after)
        return tuple(output for output in found if output.value.ndim)

    def _host(self, array: np.ndarray) -> Any:
        """A tensor of MNN that holds the array in its own order, NCHW for pictures."""
        kind = self._kind(array.dtype.name)
        return self._mnn.Tensor(array.shape, kind, array, self._mnn.Tensor_DimensionType_Caffe)

    def _kind(self, name: str) -> Any:
        """MNN's type in place of one of NumPy's; None for what it takes and gives nowhere."""
        kinds = {np.float32: self._mnn.Halide_Type_Float, np.int32: self._mnn.Halide_Type_Int}
        return kinds.get(STORED.get(name, np.dtype(name).type))

    def _read(self, tensor: Any, dtype: np.dtype[Any]) -> np.ndarray:
        shape = tuple(tensor.getShape())
        stored = np.zeros(shape, STORED.get(dtype.name, dtype))
        host = self._host(stored)
        tensor.copyToHostTensor(host)
        return np.array(host.getNumpyData(), dtype).reshape(shape)


def _layers(name: str, type: str) -> tuple[str, ...]:
    """Of an operator that bears the ONNX file's `<layer>/<type>`, unless it only stands before or behind the layer."""
    layer, slash, _ = name.rpartition("/")
    return (layer,) if slash and type.partition(" ")[0] not in UNNAMED and not name.endswith(GUARD) else ()
