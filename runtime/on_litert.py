"""Runs TFLite files on LiteRT's interpreter (the XNNPACK kernels of the CPU)."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from edgepress.errors import BadInput, DeviceFailed
from edgepress.files import existing_file
from edgepress.layer_output import LayerOutput
from edgepress.runtime import _litert_trace, _xnnpack
from edgepress.runtime._quiet import without_line
from edgepress.runtime._runner import LayerTime, Runner

if TYPE_CHECKING:
    from edgepress.runtime._tflite_taps import Tap

INT8_LEAST, INT8_MOST = -128, 127
DELEGATE_MADE = b"INFO: Created TensorFlow Lite XNNPACK delegate for CPU."
"""What LiteRT says of every process's first file; it has no setting for that."""


class LiteRTRunner(Runner):
    """One interpreter with `threads` threads."""

    formats: ClassVar[tuple[str, ...]] = ("tflite",)
    requires: ClassVar[tuple[str, ...]] = ("ai_edge_litert",)
    extra: ClassVar[str] = "tflite"

    def open(self) -> None:
        path = existing_file(self.artifact.path, "TFLite file")
        self._interpreter = self._loaded(model_path=str(path))
        self._tapped: tuple[Any, tuple[Tap, ...]] | None = None
        self._inputs = self._interpreter.get_input_details()
        self._outputs = self._interpreter.get_output_details()
        self._check_ends(len(self._inputs), len(self._outputs))

    def close(self) -> None:
        del self._interpreter, self._tapped

    def load_inputs(self, arrays: Sequence[np.ndarray]) -> None:
        self._load(self._interpreter, arrays)

    def invoke(self) -> None:
        self._invoke(self._interpreter)

    def read_layers(self, arrays: Sequence[np.ndarray]) -> tuple[LayerOutput, ...]:
        interpreter, taps = self._tapped = self._tapped or self._tap()
        self._load(interpreter, arrays)
        self._invoke(interpreter)
        details = {detail["index"]: detail for detail in interpreter.get_tensor_details()}
        return tuple(
            LayerOutput(tap.layer, tap.type, _real(interpreter.get_tensor(tap.index), details[tap.index]))
            for tap in taps
            if len(details[tap.index]["shape"])
        )

    def profile(self, runs: int) -> tuple[LayerTime, ...]:
        """Times of each operator, in whole microseconds, on the inputs loaded last, in a session of its own that LiteRT's
        C library profiles; the first run does not count. Empty for versions other than the known ones."""
        if not _litert_trace.is_known():
            return ()
        given = [self._interpreter.get_tensor(detail["index"]) for detail in self._inputs]
        made = [np.dtype(detail["dtype"]) for detail in self._outputs]
        try:
            traced = _litert_trace.trace(self.artifact.path, self.threads, given, made, runs)
        except RuntimeError as error:
            raise DeviceFailed(
                f"LiteRT failed to profile: {error}.",
                where=str(self.artifact.path),
                hint="leave out --per-layer",
            ) from None
        from edgepress.runtime._tflite_taps import operators

        return _layer_times(traced, operators(self.artifact.path.read_bytes()))

    def _tap(self) -> tuple[Any, tuple[Tap, ...]]:
        from edgepress.runtime._tflite_taps import tapped

        content, taps = tapped(self.artifact.path.read_bytes())
        return self._loaded(model_content=content), taps

    def _loaded(self, **source: Any) -> Any:
        """An interpreter of the file, or of its content with more outputs."""
        from ai_edge_litert.interpreter import Interpreter

        try:
            with without_line(DELEGATE_MADE):
                interpreter = Interpreter(**source, num_threads=self.threads)
                interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise BadInput(
                f"LiteRT does not load this file: {_first_line(error)}",
                where=str(self.artifact.path.absolute()),
                hint="convert it again; the file may be cut off or made for a newer LiteRT",
            ) from None
        return interpreter

    def _load(self, interpreter: Any, arrays: Sequence[np.ndarray]) -> None:
        try:
            for detail, array in zip(self._inputs, arrays, strict=True):
                interpreter.set_tensor(detail["index"], _quantized(self._to_file(array), detail))
        except ValueError as error:
            raise self.artifact.other_than_stated(f"its inputs are others ({_first_line(error)})") from None

    def _invoke(self, interpreter: Any) -> None:
        try:
            interpreter.invoke()
        except (ValueError, RuntimeError) as error:
            raise self._failed("LiteRT", _first_line(error)) from None

    def read_outputs(self) -> tuple[np.ndarray, ...]:
        return tuple(
            self._from_file(_real(self._interpreter.get_tensor(detail["index"]), detail))
            for detail in self._outputs
        )

    def _to_file(self, array: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(array.transpose(0, 2, 3, 1)) if self._is_image(array) else array

    def _from_file(self, array: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(array.transpose(0, 3, 1, 2)) if self._is_image(array) else array

    def _is_image(self, array: np.ndarray) -> bool:
        return self.artifact.manifest.layout == "NHWC" and array.ndim == 4


def _layer_times(
    traced: Sequence[Sequence[_litert_trace.Event]], file: Sequence[tuple[str, str]]
) -> tuple[LayerTime, ...]:
    """The medians over the runs, which have the same operators in the same order. An operator outside of the delegate
    knows its place in the file; the delegate's are found by their order."""
    first = traced[0] if traced else ()
    inside = iter(_xnnpack.layers([event.name for event in first if event.number is None], file))
    found = []
    for place, event in enumerate(first):
        layers = (
            next(inside)
            if event.number is None
            else tuple(name for name, _ in file[event.number : event.number + 1])
        )
        median_ms = statistics.median(run[place].latency_ms for run in traced)
        found.append(LayerTime(f"{event.name} #{place}", event.name, median_ms, layers))
    return tuple(found)


def _quantized(array: np.ndarray, detail: dict[str, Any]) -> np.ndarray:
    """A float array in the tensor's int8 code; anything else as it is."""
    scale, zero_point = detail["quantization"]
    if detail["dtype"] is not np.int8 or array.dtype == np.int8:
        return array
    integers: np.ndarray = np.clip(np.round(array / scale) + zero_point, INT8_LEAST, INT8_MOST)
    return integers.astype(np.int8)


def _real(array: np.ndarray, detail: dict[str, Any]) -> np.ndarray:
    """What the integers of a tensor stand for; a float tensor as it is."""
    scale, zero_point = detail["quantization"]
    if detail["dtype"] is not np.int8:
        return array
    reals: np.ndarray = (array.astype(np.float32) - np.float32(zero_point)) * np.float32(scale)
    return reals


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
