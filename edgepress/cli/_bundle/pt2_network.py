"""The network of this folder in PyTorch: pip install torch numpy

torch.export.load runs what a crafted file holds: load only a file that you trust (bundle.json has its hash).
"""

import json
from pathlib import Path

import numpy as np
import torch
import torch.ao.quantization.fx._decomposed  # noqa: F401  registers the operators of a quantized network


class Network:
    """Calls model.pt2 with float32 arrays, samples along the first axis."""

    def __init__(self, folder: Path) -> None:
        signature = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["signature"]
        self.inputs, self.outputs = len(signature["inputs"]), len(signature["outputs"])
        self.module = torch.export.load(folder / "model.pt2").module(check_guards=False)

    def __call__(self, *arrays: np.ndarray) -> list[np.ndarray]:
        with torch.inference_mode():
            found = self.module(*(torch.from_numpy(array) for array in arrays))
        tensors = [found] if isinstance(found, torch.Tensor) else list(found)
        return [tensor.numpy() for tensor in tensors]
