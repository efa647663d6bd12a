"""Times of single operators on LiteRT, by the profiler of its C library: the Python interface does not pass it on.

The library's functions and structs are those of the versions in `KNOWN`. They are called by their addresses, where a
change could not be told from a mistake: so another version tells nothing.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgepress.runtime._quiet import STANDARD_ERROR, quiet

KNOWN = ("2.3.",)
"""How the versions begin whose C library this was tried with."""
LIBRARY = "libLiteRt.so"

CPU = 1
ELEMENTS: Mapping[str, int] = {
    "float32": 1, "int32": 2, "uint8": 3, "int64": 4, "bool": 6, "int16": 7, "int8": 9,
}  # fmt: skip
"""LiteRT's numbers for NumPy's types."""
FOR_WRITING = 1
OPERATOR, DELEGATES_OPERATOR = 2, 8
"""The kinds of events that time one operator: outside of the delegate, and inside."""
US_PER_MS = 1e3


@dataclass(frozen=True)
class Event:
    """One operator of one run: `number` is the file's, where it ran outside of the delegate, else None."""

    name: str
    latency_ms: float
    number: int | None


class _Layout(ctypes.Structure):
    _fields_ = (
        ("rank", ctypes.c_uint, 7),
        ("has_strides", ctypes.c_uint, 1),
        ("dimensions", ctypes.c_int32 * 8),
        ("strides", ctypes.c_uint32 * 8),
    )


class _TensorType(ctypes.Structure):
    _fields_ = (("element", ctypes.c_int), ("layout", _Layout))


class _Event(ctypes.Structure):
    _fields_ = (
        ("tag", ctypes.c_char_p),
        ("kind", ctypes.c_int),
        ("start_us", ctypes.c_uint64),
        ("elapsed_us", ctypes.c_uint64),
        ("memory_before", ctypes.c_int64 * 3),
        ("memory_after", ctypes.c_int64 * 3),
        ("number", ctypes.c_uint64),
        ("more", ctypes.c_uint64),
        ("source", ctypes.c_int),
    )


def is_known() -> bool:
    """Whether this LiteRT is one of those that are asked."""
    try:
        return importlib.metadata.version("ai-edge-litert").startswith(KNOWN) and _library().exists()
    except importlib.metadata.PackageNotFoundError:
        return False


def trace(
    path: Path, threads: int, inputs: Sequence[np.ndarray], outputs: Sequence[np.dtype[Any]], runs: int
) -> list[list[Event]]:
    """The operators of each of `runs` runs, in execution order; the first run is none of them. `inputs` are as the file
    takes them, `outputs` the types of what it gives. RuntimeError for what the library refuses."""
    with quiet(STANDARD_ERROR), _session(path, threads) as session:
        given = session.buffers("Input", [array.dtype for array in inputs])
        made = session.buffers("Output", outputs)
        for buffer, array in zip(given, inputs, strict=True):
            session.fill(buffer, array)
        session.run(given, made)
        return [session.profiled(given, made) for _ in range(runs)]


def _library() -> Path:
    found = importlib.util.find_spec("ai_edge_litert")
    assert found is not None, "its version was just read"
    return Path(str(found.origin)).with_name(LIBRARY)


@contextmanager
def _session(path: Path, threads: int) -> Iterator[_Session]:
    with ExitStack() as stack:
        yield _Session(stack, path, threads)


class _Session:
    """A compiled model with a profiler; everything that is made goes with the stack."""

    def __init__(self, stack: ExitStack, path: Path, threads: int) -> None:
        self._stack, self._c = stack, ctypes.CDLL(str(_library()))
        self._environment = self._made("Environment", 0, None)
        model = self._made("Model", self._environment, str(path).encode(), by="LiteRtCreateModelFromFile")
        options = self._made("Options")
        self._call("LiteRtSetOptionsHardwareAccelerators", options, CPU)
        for kind, text in (
            (b"runtime_options_string", b"enable_profiling = true\n"),
            (b"xnnpack", b"num_threads = %d\n" % threads),
        ):
            self._call("LiteRtAddOpaqueOptions", options, self._told(kind, text))
        self._model = self._made("CompiledModel", self._environment, model, options)
        self._profiler = self._got("LiteRtCompiledModelGetProfiler", self._model)

    def buffers(self, kind: str, dtypes: Sequence[np.dtype[Any]]) -> list[ctypes.c_void_p]:
        """Memory for all inputs, or all outputs."""
        count = len(dtypes)
        layouts = (_Layout * count)()
        if kind == "Output":
            self._call(f"LiteRtGetCompiledModel{kind}TensorLayouts", self._model, _size(0), _size(count), layouts, False)  # fmt: skip
        made = []
        for place, dtype in enumerate(dtypes):
            if kind == "Input":
                layout = ctypes.byref(layouts[place])
                self._call(f"LiteRtGetCompiledModel{kind}TensorLayout", self._model, _size(0), _size(place), layout)  # fmt: skip
            wanted = self._got(
                f"LiteRtGetCompiledModel{kind}BufferRequirements", self._model, _size(0), _size(place)
            )
            shape = _TensorType(ELEMENTS[dtype.name], layouts[place])
            by = "LiteRtCreateManagedTensorBufferFromRequirements"
            made.append(self._made("TensorBuffer", self._environment, ctypes.byref(shape), wanted, by=by))
        return made

    def fill(self, buffer: ctypes.c_void_p, array: np.ndarray) -> None:
        address = ctypes.c_void_p()
        self._call("LiteRtLockTensorBuffer", buffer, ctypes.byref(address), FOR_WRITING)
        ctypes.memmove(address, np.ascontiguousarray(array).ctypes.data, array.nbytes)
        self._call("LiteRtUnlockTensorBuffer", buffer)

    def run(self, *buffers: Sequence[ctypes.c_void_p]) -> None:
        """Once, from the inputs' buffers to the outputs'."""
        ends = [end for each in buffers for end in (_size(len(each)), (ctypes.c_void_p * len(each))(*each))]
        self._call("LiteRtRunCompiledModel", self._model, _size(0), *ends)

    def profiled(self, *buffers: Sequence[ctypes.c_void_p]) -> list[Event]:
        self._call("LiteRtResetProfiler", self._profiler)
        self._call("LiteRtStartProfiler", self._profiler)
        self.run(*buffers)
        self._call("LiteRtStopProfiler", self._profiler)
        count = ctypes.c_int()
        self._call("LiteRtGetNumProfilerEvents", self._profiler, ctypes.byref(count))
        events = (_Event * count.value)()
        self._call("LiteRtGetProfilerEvents", self._profiler, count, events)
        return [
            Event(event.tag.decode(), event.elapsed_us / US_PER_MS, event.number if event.kind == OPERATOR else None)
            for event in events
            if event.kind in (OPERATOR, DELEGATES_OPERATOR)
        ]  # fmt: skip

    def _told(self, kind: bytes, text: bytes) -> ctypes.c_void_p:
        """Options as LiteRT takes them: a copy of the text in C's memory, and who frees it."""
        standard = ctypes.CDLL(None)
        standard.strdup.restype = ctypes.c_void_p
        copied = ctypes.c_void_p(standard.strdup(text))
        return self._got("LiteRtCreateOpaqueOptions", kind, copied, standard.free)

    def _made(self, kind: str, *arguments: Any, by: str = "") -> ctypes.c_void_p:
        """What a function creates, to be destroyed in its time."""
        made = self._got(by or f"LiteRtCreate{kind}", *arguments)
        self._stack.callback(self._c[f"LiteRtDestroy{kind}"], made)
        return made

    def _got(self, name: str, *arguments: Any) -> ctypes.c_void_p:
        """What a function writes to the address behind its arguments."""
        found = ctypes.c_void_p()
        self._call(name, *arguments, ctypes.byref(found))
        return found

    def _call(self, name: str, *arguments: Any) -> None:
        if status := self._c[name](*arguments):
            raise RuntimeError(f"{name} gives status {status}")


_size = ctypes.c_size_t
