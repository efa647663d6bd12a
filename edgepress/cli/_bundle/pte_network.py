"""The network of this folder on ExecuTorch: pip install executorch numpy"""

import json
from pathlib import Path

import numpy as np
import torch
from executorch.runtime import Runtime


class Network:
    """Calls model.pte with arrays of one sample, images as 1 x channels x height x width."""

    def __init__(self, folder: Path) -> None:
        signature = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["signature"]
        self.inputs, self.outputs = len(signature["inputs"]), len(signature["outputs"])
        self.batch = signature["inputs"][0]["shape"][0]
        self.program = Runtime.get().load_program(folder / "model.pte")
        self.method = self.program.load_method("forward")

    def __call__(self, *arrays: np.ndarray) -> list[np.ndarray]:
        full = [np.repeat(array, self.batch // len(array), axis=0) for array in arrays]
        found = self.method.execute([torch.from_numpy(np.ascontiguousarray(array)) for array in full])
        return [result[:1].numpy() for result in found]
