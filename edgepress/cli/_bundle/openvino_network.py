"""The network of this folder on OpenVINO: pip install openvino numpy"""

import sys
from pathlib import Path

import numpy as np

sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # else the import is reported to its makers
import openvino  # noqa: E402  after the line above


class Network:
    """Calls model.xml and model.bin with arrays of one sample, images as 1 x channels x height x width."""

    def __init__(self, folder: Path) -> None:
        # Without the hint, what is not int8 is computed in bfloat16 where the processor has it.
        self.compiled = openvino.Core().compile_model(
            folder / "model.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
        )
        self.inputs, self.outputs = len(self.compiled.inputs), len(self.compiled.outputs)
        self.batch = self.compiled.inputs[0].shape[0]

    def __call__(self, *arrays: np.ndarray) -> list[np.ndarray]:
        full = [np.repeat(array, self.batch // len(array), axis=0) for array in arrays]
        found = self.compiled(full)
        return [np.array(found[place][:1]) for place in range(self.outputs)]
