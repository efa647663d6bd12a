"""The network of this folder, which edgepress decodes and PyTorch executes: pip install edgepress

model.epz is for storage and transfer; `edgepress convert model.epz --to tflite` makes of it what a phone runs.
"""

from pathlib import Path

import numpy as np

from edgepress.program import Program


class Network:
    """Calls model.epz with float32 arrays, samples along the first axis."""

    def __init__(self, folder: Path) -> None:
        self.program = Program.load(folder / "model.epz")
        self.inputs = len(self.program.signature.inputs)
        self.outputs = len(self.program.signature.outputs)

    def __call__(self, *arrays: np.ndarray) -> list[np.ndarray]:
        return list(self.program.run(*arrays))
