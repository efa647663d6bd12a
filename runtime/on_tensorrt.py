"""TensorRT on the first GPU of this machine."""

from __future__ import annotations

import json
import re
import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgepress import nvidia
from edgepress.devices.cpu import Cpu
from edgepress.devices.cuda import Cuda
from edgepress.errors import BadInput, DeviceFailed, UnsupportedTarget
from edgepress.nvidia import called
from edgepress.runtime._runner import LayerTime, Runner

ONNX_NODE = re.compile(r"([^\s+,(){}\[\]]+)/\w+")
"""The ONNX file's `<layer>/<type>` in what TensorRT calls a layer of its engine."""
REFORMATTING = "Reformatting"
"""How the names begin of what only changes a tensor's order or type for the layer that they go on to name."""


@dataclass(frozen=True)
class _Binding:
    """An input or output of the engine, and its memory on the GPU."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    address: int

    @property
    def size_bytes(self) -> int:
        return int(np.prod(self.shape)) * self.dtype.itemsize


class TensorRtRunner(Runner):
    """One execution context with its memory and a stream. Copies to and from the GPU are outside of `invoke`."""

    formats = ("tensorrt",)
    requires = nvidia.PACKAGES
    extra = nvidia.EXTRA
    devices = (Cpu, Cuda)

    def open(self) -> None:
        """Raises UnsupportedTarget for an engine of another GPU or TensorRT, BadInput for what is no engine."""
        import tensorrt
        from cuda.bindings import runtime as cuda

        path = self.artifact.path
        self._refuse_other_target()
        nvidia.refuse_other(self.artifact.manifest.bound_to, nvidia.identity(), where=str(path))
        self._logger = nvidia.listener()
        self._runtime = tensorrt.Runtime(self._logger)
        self._engine = self._runtime.deserialize_cuda_engine(path.read_bytes())
        if self._engine is None:
            raise BadInput(
                f"TensorRT cannot load the engine: {nvidia.last_words(self._logger)}.",
                where=str(path),
                hint="build it again: edgepress convert MODEL --to tensorrt",
            )
        self._stream = called(cuda.cudaStreamCreate())
        self._context = self._new_context()
        self._inputs = self._bound(tensorrt.TensorIOMode.INPUT)
        self._outputs = self._bound(tensorrt.TensorIOMode.OUTPUT)
        self._connect(self._context)

    def _refuse_other_target(self) -> None:
        """UnsupportedTarget for another GPU than the first, and for an arithmetic: an engine is built for one."""
        if self.target.device not in (Cpu(), Cuda()):
            raise UnsupportedTarget(
                "An engine runs on the first GPU, in the arithmetic that it was built for.",
                where=self.target.place,
                hint="cuda:0; CUDA_VISIBLE_DEVICES=1 makes another the first, and --to tensorrt has the option tf32",
            )

    def close(self) -> None:
        from cuda.bindings import runtime as cuda

        for binding in (*self._inputs, *self._outputs):
            called(cuda.cudaFree(binding.address))
        called(cuda.cudaStreamDestroy(self._stream))
        del self._context, self._engine, self._runtime, self._logger

    def load_inputs(self, arrays: Sequence[np.ndarray]) -> None:
        from cuda.bindings import runtime as cuda

        # The copy reads the arrays until the stream is done with them: they are kept as long.
        kept = [
            np.ascontiguousarray(array, binding.dtype)
            for binding, array in zip(self._inputs, arrays, strict=True)
        ]
        upwards = cuda.cudaMemcpyKind.cudaMemcpyHostToDevice
        for binding, array in zip(self._inputs, kept, strict=True):
            called(
                cuda.cudaMemcpyAsync(
                    binding.address, array.ctypes.data, binding.size_bytes, upwards, self._stream
                )
            )
        called(cuda.cudaStreamSynchronize(self._stream))

    def invoke(self) -> None:
        self._execute(self._context)

    def read_outputs(self) -> tuple[np.ndarray, ...]:
        from cuda.bindings import runtime as cuda

        arrays = tuple(np.empty(binding.shape, binding.dtype) for binding in self._outputs)
        downwards = cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost
        for binding, array in zip(self._outputs, arrays, strict=True):
            called(
                cuda.cudaMemcpyAsync(
                    array.ctypes.data, binding.address, binding.size_bytes, downwards, self._stream
                )
            )
        called(cuda.cudaStreamSynchronize(self._stream))
        return arrays

    def profile(self, runs: int) -> tuple[LayerTime, ...]:
        """Times of each layer of the engine, in a context of its own; the first run does not count."""
        import tensorrt

        times: defaultdict[str, list[float]] = defaultdict(list)

        class Watch(tensorrt.IProfiler):  # type: ignore[misc]  # the package is not installed where types are checked
            def __init__(self) -> None:
                tensorrt.IProfiler.__init__(self)

            def report_layer_time(self, layer_name: str, ms: float) -> None:
                times[layer_name].append(ms)

        context = self._new_context()
        context.profiler = Watch()
        self._connect(context)
        for _ in range(runs + 1):
            self._execute(context)
        types = self._types()
        return tuple(
            LayerTime(name, types.get(name, ""), statistics.median(taken[1:] or taken), fused_layers(name))
            for name, taken in times.items()
        )

    def _new_context(self) -> Any:
        """An execution context for exactly the batch that the engine was built for."""
        context = self._engine.create_execution_context()
        if context is None:
            raise DeviceFailed(
                f"TensorRT cannot prepare to execute: {nvidia.last_words(self._logger)}.",
                where=str(self.artifact.path),
                hint="build the engine again on this machine: edgepress convert MODEL --to tensorrt",
            )
        signature = self.artifact.manifest.signature
        names, _ = signature.distinct_names()
        for name, spec in zip(names, signature.inputs, strict=True):
            context.set_input_shape(name, spec.with_batch(1))
        return context

    def _bound(self, mode: Any) -> tuple[_Binding, ...]:
        """The inputs, or the outputs, in the network's order, with memory of their own."""
        import tensorrt
        from cuda.bindings import runtime as cuda

        found = []
        for name in (self._engine.get_tensor_name(place) for place in range(self._engine.num_io_tensors)):
            if self._engine.get_tensor_mode(name) == mode:
                shape = tuple(self._context.get_tensor_shape(name))
                dtype = np.dtype(tensorrt.nptype(self._engine.get_tensor_dtype(name)))
                size_bytes = int(np.prod(shape)) * dtype.itemsize
                found.append(_Binding(name, shape, dtype, int(called(cuda.cudaMalloc(size_bytes)))))
        return tuple(found)

    def _connect(self, context: Any) -> None:
        for binding in (*self._inputs, *self._outputs):
            context.set_tensor_address(binding.name, binding.address)

    def _execute(self, context: Any) -> None:
        from cuda.bindings import runtime as cuda

        if not context.execute_async_v3(int(self._stream)):
            raise DeviceFailed(
                f"TensorRT failed to execute: {nvidia.last_words(self._logger)}.",
                where=str(self.artifact.path),
                hint="nvidia-smi shows whether the GPU is well and has memory left",
            )
        called(cuda.cudaStreamSynchronize(self._stream))

    def _types(self) -> dict[str, str]:
        """The kind of each layer, by its name, as TensorRT's inspector tells."""
        import tensorrt

        inspector = self._engine.create_engine_inspector()
        told = (
            json.loads(inspector.get_layer_information(place, tensorrt.LayerInformationFormat.JSON))
            for place in range(self._engine.num_layers)
        )
        return {layer["Name"]: layer.get("LayerType", "") for layer in told if isinstance(layer, dict)}


def fused_layers(name: str) -> tuple[str, ...]:
    """The user's layers in an engine's layer: `a/Conv + b/Relu`, `PWN(a/Sigmoid, b/Mul)`, or, of a whole stretch of the
    network, its first and last: `{ForeignNode[a/Conv...b/Add]}`."""
    return (
        ()
        if name.startswith(REFORMATTING)
        else tuple(dict.fromkeys(ONNX_NODE.findall(name.replace("...", " "))))
    )
