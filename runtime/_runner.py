"""Executes one Artifact: NumPy in, NumPy out, the same arrays for every runner of the same network."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, ClassVar

import numpy as np

from edgepress import plugins
from edgepress.artifact import Artifact
from edgepress.devices import Device
from edgepress.devices.cpu import Cpu
from edgepress.errors import BadInput, DeviceFailed, UnsupportedTarget
from edgepress.layer_output import LayerOutput
from edgepress.runtime._target import Target


@dataclass(frozen=True)
class LayerTime:
    """One operator as the runtime executed it: `name` and `type` in the runtime's words, `latency_ms` the median over the
    profiled runs, `layers` the user's layers that it computes: several where they are fused, none where it only moves
    data or changes its code, or where the runtime does not tell."""

    name: str
    type: str
    latency_ms: float
    layers: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Turn:
    """Some invocations in the process that executes them: each one's time and the processor time of all
    (none where it is emulated), each one's time on the device's own clock (where it has one), each one's instructions
    (where they are counted), and its peak memory so far (where the process tells)."""

    latency_ms: tuple[float, ...]
    cpu_ms: float | None
    device_ms: tuple[float, ...] = ()
    instructions: tuple[int, ...] = ()
    peak_memory_mb: float | None = None


class Runner(ABC):
    """A context manager around one loaded artifact.

    A backend is one file `on_<name>.py` with one subclass. `formats` are the artifact formats it loads,
    `requires` the packages it imports (inside its methods), `extra` the extra of ours that installs them, `devices`
    the kinds of device that it executes on from within this process. Where `portable`, it needs nothing but NumPy
    and its runtime, and so runs on other devices too. One `for_reference` says what a file means and is not fast: it is
    taken where it is asked for, not by itself.
    `load_inputs`, `invoke` and `read_outputs` are apart so that a benchmark times `invoke` alone. A device with a clock of
    its own leaves what that says of the last `invoke` in `device_ms`.
    """

    formats: ClassVar[tuple[str, ...]]
    requires: ClassVar[tuple[str, ...]] = ()
    extra: ClassVar[str] = ""
    devices: ClassVar[tuple[type[Device], ...]] = (Cpu,)
    portable: ClassVar[bool] = True
    load_ms: float | None = None
    device_ms: float | None = None
    environment: Mapping[str, Any] | None = None
    for_reference: ClassVar[bool] = False

    def __init__(self, artifact: Artifact, target: Target = Target(), threads: int = 1) -> None:
        self.artifact = artifact
        self.target = target
        self.threads = threads

    def name(self) -> str:
        return _backend(type(self))

    @classmethod
    def require(cls) -> None:
        """Raise BackendMissing, with the way to get it, unless this machine can run it."""
        plugins.require(*cls.requires, extra=cls.extra)

    def __enter__(self) -> Runner:
        self.require()
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @abstractmethod
    def open(self) -> None:
        """Load the file; BadInput when the runtime refuses it, DeviceFailed when the device does."""

    def close(self) -> None:  # noqa: B027  most runtimes free their memory by themselves
        """Give back what `open` took."""

    @abstractmethod
    def load_inputs(self, arrays: Sequence[np.ndarray]) -> None:
        """Hand over inputs that fit the manifest's signature (float32 NCHW), converted to the file's layout and dtype."""

    @abstractmethod
    def invoke(self) -> None:
        """Execute once. Returns when the outputs are there."""

    @abstractmethod
    def read_outputs(self) -> tuple[np.ndarray, ...]:
        """The outputs of the last `invoke`, in the signature's layout and dtype, as copies."""

    def turn(self, runs: int) -> Turn | None:
        """Invoke so often in the runner's own process; None where that is ours, in which whoever measures invokes.

        Such a runner also sets, as it opens, `load_ms` and `environment`: how long that took there, and the fields of
        an Environment of edgepress.benchmarks.
        """
        return None

    def profile(self, runs: int) -> tuple[LayerTime, ...]:
        """Times of each operator over `runs` invocations; empty when this runtime does not tell."""
        return ()

    def read_layers(self, arrays: Sequence[np.ndarray]) -> tuple[LayerOutput, ...]:
        """What each layer gives for inputs as `load_inputs` takes them, in execution order, in the file's own order of
        axes. Executed apart from `invoke`, whose speed it does not touch. UnsupportedTarget where the runtime tells
        its outputs alone, as `require_layers` says beforehand."""
        raise _tells_no_layers(type(self))

    @classmethod
    def require_layers(cls) -> None:
        """Raise UnsupportedTarget unless this runtime tells what happens inside."""
        if cls.read_layers is Runner.read_layers:
            raise _tells_no_layers(cls)

    def rehearse(self, arrays: Sequence[np.ndarray]) -> None:
        """Load, invoke and read once. BadInput where the file gives other outputs than its manifest says: who only
        times it would not see."""
        self.load_inputs(arrays)
        self.invoke()
        outputs = self.read_outputs()
        self._check_ends(len(arrays), len(outputs))
        for spec, array in zip(self.artifact.manifest.signature.outputs, outputs, strict=True):
            # Of integers runtimes have their own widths.
            are_floats = {np.issubdtype(dtype, np.floating) for dtype in (np.dtype(spec.dtype), array.dtype)}
            if len(are_floats) > 1 or not spec.fits(array.shape):
                raise self.artifact.other_than_stated(f"it gives {array.dtype} {array.shape} as {spec}")

    def _check_ends(self, inputs: int, outputs: int) -> None:
        """Raise BadInput unless the manifest has as many of them as the file."""
        signature = self.artifact.manifest.signature
        stated = len(signature.inputs), len(signature.outputs)
        if (inputs, outputs) != stated:
            raise self.artifact.other_than_stated(
                f"it has {inputs} inputs and {outputs} outputs instead of {stated[0]} and {stated[1]}"
            )

    def _failed(self, library: str, reason: object = "it gives no reason") -> DeviceFailed:
        """The error for an execution that the library gave up, in its words."""
        return DeviceFailed(
            f"{library} failed to execute: {str(reason).rstrip('.')}.",
            where=str(self.artifact.path),
            hint="edgepress verify compares the file with the network it was made from",
        )

    def run(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        """Check, load, invoke, read. A file with a fixed batch is run as often as the arrays need.

        Raises BadInput for arrays that do not fit the signature, or hold no samples or not equally many.
        """
        pieces = []
        for piece in self._pieces(arrays):
            self.load_inputs(piece)
            self.invoke()
            pieces.append(self.read_outputs())
        return tuple(_joined(parts, len(arrays[0])) for parts in zip(*pieces, strict=True))

    def layer_outputs(self, *arrays: np.ndarray) -> tuple[LayerOutput, ...]:
        """`read_layers` on arrays of any number of samples, checked and divided as in `run`."""
        pieces = [self.read_layers(piece) for piece in self._pieces(arrays)]
        return tuple(
            LayerOutput(
                parts[0].layer, parts[0].type, _joined([part.value for part in parts], len(arrays[0]))
            )
            for parts in zip(*pieces, strict=True)
        )

    def _pieces(self, arrays: Sequence[np.ndarray]) -> Iterator[tuple[np.ndarray, ...]]:
        """The arrays, checked, in pieces of the file's batch."""
        signature = self.artifact.manifest.signature
        _check_counts(arrays)
        fixed = signature.inputs[0].shape[0] or len(arrays[0])
        for start in range(0, len(arrays[0]), fixed):
            piece = tuple(_padded(array[start : start + fixed], fixed) for array in arrays)
            signature.check_inputs(piece)
            yield piece


def _tells_no_layers(runner: type[Runner]) -> UnsupportedTarget:
    return UnsupportedTarget(
        "This runtime does not give intermediate outputs.",
        where=f"runner {_backend(runner)}",
        hint="leave out --layers, or compare the same network's .onnx or .tflite file layer by layer",
    )


def _backend(runner: type[Runner]) -> str:
    return runner.__module__.rpartition(".on_")[2]


def _check_counts(arrays: Sequence[np.ndarray]) -> None:
    counts = sorted({len(array) if array.ndim else 0 for array in arrays})
    if len(counts) != 1 or not counts[0]:
        raise BadInput(
            f"The inputs hold {' and '.join(map(str, counts)) or 'no'} samples.",
            hint="give every input the same number of samples, at least one, along its first axis",
        )


def _padded(array: np.ndarray, size: int) -> np.ndarray:
    """The array lengthened to `size` samples by repeating its last one."""
    missing = size - len(array)
    return np.concatenate([array, np.repeat(array[-1:], missing, axis=0)]) if missing else array


def _joined(parts: Sequence[np.ndarray], samples: int) -> np.ndarray:
    """The parts one behind the other, without what `_padded` added."""
    return parts[0][:samples] if len(parts) == 1 else np.concatenate(parts)[:samples]
