"""The network of this folder on ncnn: pip install ncnn numpy"""

import json
from pathlib import Path

import ncnn
import numpy as np

HALVES = ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_storage", "bf16_packed")


class Network:
    """Calls model.param and model.bin with float32 arrays of one sample, images as 1 x channels x height x width."""

    def __init__(self, folder: Path) -> None:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        self.specs = manifest["signature"]["outputs"]
        self.inputs, self.outputs = len(manifest["signature"]["inputs"]), len(self.specs)
        self.net = ncnn.Net()
        if manifest["precision"] == "float32":  # else ncnn may round to 16 bits where the processor has them
            for name in HALVES:
                setattr(self.net.opt, f"use_{name}", False)
        if self.net.load_param(str(folder / "model.param")) or self.net.load_model(str(folder / "model.bin")):
            raise RuntimeError("ncnn does not load model.param and model.bin")

    def __call__(self, *arrays: np.ndarray) -> list[np.ndarray]:
        extractor = self.net.create_extractor()
        for place, array in enumerate(arrays):
            extractor.input(f"in{place}", ncnn.Mat(np.ascontiguousarray(array[0])).clone())
        found = []
        for place, spec in enumerate(self.specs):
            status, value = extractor.extract(f"out{place}")
            if status:
                raise RuntimeError("ncnn failed to execute")
            found.append(np.array(value, spec["dtype"]).reshape([size or 1 for size in spec["shape"]]))
        return found
