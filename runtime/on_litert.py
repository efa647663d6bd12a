"""Runs TFLite files on LiteRT's interpreter (the XNNPACK kernels of the CPU)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from edgepress.errors import BadInput, DeviceFailed
from edgepress.files import existing_file
from edgepress.runtime._runner import Runner

INT8_LEAST, INT8_MOST = -128, 127


class LiteRTRunner(Runner):
    """One interpreter with `threads` threads. Its Python interface tells no times of single operators, so
    `profile` stays empty."""

    formats: ClassVar[tuple[str, ...]] = ("tflite",)
    requires: ClassVar[tuple[str, ...]] = ("ai_edge_litert",)
    extra: ClassVar[str] = "tflite"

    def open(self) -> None:
        from ai_edge_litert.interpreter import Interpreter

        path = existing_file(self.artifact.path, "TFLite file")
        try:
            self._interpreter = Interpreter(model_path=str(path), num_threads=self.threads)
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise BadInput(
                f"LiteRT does not load this file: {_first_line(error)}",
                where=str(path.absolute()),
                hint="convert it again; the file may be cut off or made for a newer LiteRT",
            ) from None
        self._inputs = self._interpreter.get_input_details()
        self._outputs = self._interpreter.get_output_details()

    def close(self) -> None:
        del self._interpreter

    def load_inputs(self, arrays: Sequence[np.ndarray]) -> None:
        for detail, array in zip(self._inputs, arrays, strict=True):
            self._interpreter.set_tensor(detail["index"], _quantized(self._to_file(array), detail))

    def invoke(self) -> None:
        try:
            self._interpreter.invoke()
        except (ValueError, RuntimeError) as error:
            raise DeviceFailed(
                f"LiteRT failed to execute: {_first_line(error)}",
                where=str(self.artifact.path),
                hint="edgepress verify compares the file with the network it was made from",
            ) from None

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
