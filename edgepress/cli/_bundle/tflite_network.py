"""The network of this folder on LiteRT: pip install ai-edge-litert numpy"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter


class Network:
    """Calls model.tflite with float32 arrays of one sample, images as 1 x channels x height x width."""

    def __init__(self, folder: Path) -> None:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        self.is_nhwc = manifest["layout"] == "NHWC"
        self.interpreter = Interpreter(model_path=str(folder / "model.tflite"))
        self.interpreter.allocate_tensors()
        self.inputs = len(self.interpreter.get_input_details())
        self.outputs = len(self.interpreter.get_output_details())

    def __call__(self, *arrays: np.ndarray) -> list[np.ndarray]:
        for detail, array in zip(self.interpreter.get_input_details(), arrays, strict=True):
            self.interpreter.set_tensor(detail["index"], self.as_stored(array, detail))
        self.interpreter.invoke()
        return [self.as_real(detail) for detail in self.interpreter.get_output_details()]

    def as_stored(self, array: np.ndarray, detail: dict[str, Any]) -> np.ndarray:
        """In the file's layout and, where it takes int8, in its code; repeated to fill a larger batch."""
        if self.is_nhwc and array.ndim == 4:
            array = np.ascontiguousarray(array.transpose(0, 2, 3, 1))
        array = np.repeat(array, int(detail["shape"][0]) // len(array), axis=0)
        scale, zero_point = detail["quantization"]
        if detail["dtype"] is not np.int8 or array.dtype == np.int8:
            return array
        integers: np.ndarray = np.clip(np.round(array / scale) + zero_point, -128, 127).astype(np.int8)
        return integers

    def as_real(self, detail: dict[str, Any]) -> np.ndarray:
        """What the first sample's output stands for, images as channels x height x width again."""
        array: np.ndarray = self.interpreter.get_tensor(detail["index"])[:1]
        scale, zero_point = detail["quantization"]
        if detail["dtype"] is np.int8:
            array = (array.astype(np.float32) - np.float32(zero_point)) * np.float32(scale)
        return array.transpose(0, 3, 1, 2) if self.is_nhwc and array.ndim == 4 else array
