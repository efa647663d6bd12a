"""Stands in for TensorRT and CUDA, which need a GPU: the calls that NVIDIA documents, on ONNX Runtime and host memory.

It proves nothing about TensorRT. It holds our side to the documented names and order of calls, and to what must
happen where one of them fails. What is not documented, or not used, is not here, so that using it fails.
"""

from __future__ import annotations

import ctypes
import enum
import importlib.machinery
import json
import sys
import types
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

VERSION = "11.1.0.106"
GPU = "NVIDIA Double"
MAGIC = b"ftrt"


class State:
    """What a test turns, and what it looks at afterwards."""

    def __init__(self) -> None:
        self.version, self.gpu = VERSION, GPU
        self.driver, self.builds, self.executes = True, True, True
        self.parser_says: list[str] = []
        self.memory: dict[int, Any] = {}
        self.streams = 0
        self.config: Config | None = None


STATE = State()


class Severity(enum.IntEnum):
    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)


class ILogger:
    Severity = Severity


class TimingCache:
    def __init__(self, content: bytes) -> None:
        self.content = content

    def serialize(self) -> bytes:
        return self.content + b"+"


class Config:
    def __init__(self) -> None:
        self.limits: dict[str, int] = {}
        self.flags = {"TF32"}
        self.profiles: list[Profile] = []
        self.builder_optimization_level = self.profiling_verbosity = None

    def set_memory_pool_limit(self, pool: str, pool_size: int) -> None:
        self.limits[pool] = pool_size

    def clear_flag(self, flag: str) -> None:
        self.flags.discard(flag)

    def add_optimization_profile(self, profile: Profile) -> int:
        self.profiles.append(profile)
        return 0

    def create_timing_cache(self, serialized_timing_cache: bytes) -> TimingCache:
        return TimingCache(serialized_timing_cache)

    def set_timing_cache(self, cache: TimingCache, ignore_mismatch: bool) -> bool:
        self.cache = cache
        return True

    def get_timing_cache(self) -> TimingCache:
        return self.cache


class Profile:
    def __init__(self) -> None:
        self.shapes: dict[str, tuple[int, ...]] = {}

    def set_shape(self, input: str, min: Any, opt: Any, max: Any) -> None:
        assert min == opt == max, "the engine is for one batch"
        self.shapes[input] = tuple(opt)


class Network:
    model = b""


class Builder:
    def __init__(self, logger: ILogger) -> None:
        self.logger = logger

    def create_network(self, flags: int) -> Network:
        assert flags == 1, "strongly typed"
        return Network()

    def create_builder_config(self) -> Config:
        STATE.config = Config()
        return STATE.config

    def create_optimization_profile(self) -> Profile:
        return Profile()

    def build_serialized_network(self, network: Network, config: Config) -> bytes | None:
        if not STATE.builds:
            self.logger.log(Severity.ERROR, "no tactic\nfits")
            return None
        assert config.profiles[0].shapes, "a free batch needs a profile"
        return MAGIC + network.model


class ParserError:
    def __init__(self, text: str) -> None:
        self.text = text

    def desc(self) -> str:
        return self.text

    def node_name(self) -> str:
        return "block.layer/Conv"

    def node_operator(self) -> str:
        return "Conv"


class OnnxParser:
    def __init__(self, network: Network, logger: ILogger) -> None:
        self.network = network
        self.num_errors = len(STATE.parser_says)

    def parse(self, model: bytes) -> bool:
        onnx.checker.check_model(model, full_check=True)
        self.network.model = model
        return not self.num_errors

    def get_error(self, index: int) -> ParserError:
        return ParserError(STATE.parser_says[index])


class TensorIOMode(enum.Enum):
    INPUT, OUTPUT = 0, 1


class Engine:
    def __init__(self, model: bytes) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        self.session = onnxruntime.InferenceSession(model, options)
        self._inputs = {value.name: value for value in self.session.get_inputs()}
        self._outputs = {value.name: value for value in self.session.get_outputs()}
        self.num_io_tensors = len(self._inputs) + len(self._outputs)
        self.num_layers = 2

    def get_tensor_name(self, index: int) -> str:
        return [*self._inputs, *self._outputs][index]

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        return TensorIOMode.INPUT if name in self._inputs else TensorIOMode.OUTPUT

    def get_tensor_dtype(self, name: str) -> str:
        return (self._inputs | self._outputs)[name].type

    def create_execution_context(self) -> Context:
        return Context(self)

    def create_engine_inspector(self) -> Inspector:
        return Inspector()


class Inspector:
    def get_layer_information(self, layer_index: int, format: str) -> str:
        assert format == "JSON"
        return json.dumps({"Name": f"layer{layer_index}", "LayerType": "CaskConvolution"})


class Context:
    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.profiler: Any = None
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._addresses: dict[str, int] = {}

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self._shapes[name] = tuple(shape)
        return True

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        if name not in self._shapes:
            feeds = {given: np.zeros(shape, np.float32) for given, shape in self._shapes.items()}
            self._shapes[name] = self.engine.session.run([name], feeds)[0].shape
        return self._shapes[name]

    def set_tensor_address(self, name: str, memory: int) -> bool:
        self._addresses[name] = memory
        return True

    def execute_async_v3(self, stream_handle: int) -> bool:
        if not STATE.executes:
            return False
        feeds = {name: self._array(name) for name in self.engine._inputs}
        for name, array in zip(self.engine._outputs, self.engine.session.run(None, feeds), strict=True):
            self._array(name)[...] = array
        if self.profiler is not None:
            self.profiler.report_layer_time("layer0", 0.25)
        return True

    def _array(self, name: str) -> np.ndarray:
        shape = self.get_tensor_shape(name)
        memory = (ctypes.c_float * int(np.prod(shape))).from_address(self._addresses[name])
        return np.ctypeslib.as_array(memory).reshape(shape)


class Runtime:
    def __init__(self, logger: ILogger) -> None:
        self.logger = logger

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> Engine | None:
        if not serialized_engine.startswith(MAGIC):
            self.logger.log(Severity.ERROR, "magic tag does not match")
            return None
        return Engine(serialized_engine.removeprefix(MAGIC))


class CudaError(enum.Enum):
    cudaSuccess, cudaErrorNoDevice = 0, 100


class MemcpyKind(enum.Enum):
    cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost = 1, 2


OK = (CudaError.cudaSuccess,)


def get_properties(device: int) -> tuple[CudaError, Any]:
    if not STATE.driver:
        return CudaError.cudaErrorNoDevice, None
    return *OK, types.SimpleNamespace(name=f"{STATE.gpu}\0".encode(), major=9, minor=0)


def malloc(size: int) -> tuple[CudaError, int]:
    memory = ctypes.create_string_buffer(size)
    STATE.memory[ctypes.addressof(memory)] = memory
    return *OK, ctypes.addressof(memory)


def free(address: int) -> tuple[CudaError]:
    del STATE.memory[address]
    return OK


def create_stream() -> tuple[CudaError, int]:
    STATE.streams += 1
    return *OK, 7


def destroy_stream(stream: int) -> tuple[CudaError]:
    STATE.streams -= 1
    return OK


def copy(target: int, source: int, count: int, kind: MemcpyKind, stream: int) -> tuple[CudaError]:
    ctypes.memmove(target, source, count)
    return OK


def install(monkeypatch: pytest.MonkeyPatch) -> State:
    """Let `import tensorrt` and `from cuda.bindings import runtime` find the double; its fresh state."""
    global STATE
    STATE = State()
    cuda = {
        "cudaError_t": CudaError,
        "cudaMemcpyKind": MemcpyKind,
        "cudaGetErrorString": lambda error: (*OK, b"no CUDA-capable device is detected"),
        "cudaGetDeviceProperties": get_properties,
        "cudaMalloc": malloc,
        "cudaFree": free,
        "cudaStreamCreate": create_stream,
        "cudaStreamDestroy": destroy_stream,
        "cudaStreamSynchronize": lambda stream: OK,
        "cudaMemcpyAsync": copy,
    }
    tensorrt = {
        "ILogger": ILogger,
        "IProfiler": type("IProfiler", (), {}),
        "Builder": Builder,
        "OnnxParser": OnnxParser,
        "Runtime": Runtime,
        "TensorIOMode": TensorIOMode,
        "NetworkDefinitionCreationFlag": types.SimpleNamespace(STRONGLY_TYPED=0),
        "MemoryPoolType": types.SimpleNamespace(WORKSPACE="WORKSPACE"),
        "ProfilingVerbosity": types.SimpleNamespace(DETAILED="DETAILED"),
        "BuilderFlag": types.SimpleNamespace(TF32="TF32"),
        "LayerInformationFormat": types.SimpleNamespace(JSON="JSON"),
        "nptype": lambda dtype: {"tensor(float)": np.float32}[dtype],
    }
    runtime = _module("cuda.bindings.runtime", cuda)
    bindings = _module("cuda.bindings", {"runtime": runtime, "__path__": []})
    modules = (
        runtime,
        bindings,
        _module("cuda", {"bindings": bindings, "__path__": []}),
        _module("tensorrt", {**tensorrt, "__version__": STATE.version}),
    )
    for module in modules:
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return STATE


def _module(name: str, content: dict[str, Any]) -> types.ModuleType:
    module = types.ModuleType(name)
    module.__spec__ = importlib.machinery.ModuleSpec(name, None)
    vars(module).update(content)
    return module
