"""The network of this folder on ONNX Runtime: pip install onnxruntime numpy"""

from pathlib import Path

import numpy as np
import onnxruntime


class Network:
    """Calls model.onnx with float32 arrays, samples along the first axis."""

    def __init__(self, folder: Path) -> None:
        self.session = onnxruntime.InferenceSession(
            str(folder / "model.onnx"), providers=["CPUExecutionProvider"]
        )
        self.names = [node.name for node in self.session.get_inputs()]
        self.inputs, self.outputs = len(self.names), len(self.session.get_outputs())

    def __call__(self, *arrays: np.ndarray) -> list[np.ndarray]:
        found: list[np.ndarray] = self.session.run(None, dict(zip(self.names, arrays, strict=True)))
        return found
