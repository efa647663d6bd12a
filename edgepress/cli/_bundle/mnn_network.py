"""The network of this folder on MNN: pip install MNN numpy"""

import json
from pathlib import Path
from typing import Any

import MNN
import numpy as np

TYPES = {"float32": MNN.Halide_Type_Float, "int32": MNN.Halide_Type_Int}
STORED = {"int64": np.int32, "bool": np.int32}
"""What MNN has in place of NumPy's types."""


class Network:
    """Calls model.mnn with arrays, samples along the first axis, images as channels x height x width."""

    def __init__(self, folder: Path) -> None:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        signature = manifest["signature"]
        self.inputs, self.outputs = len(signature["inputs"]), len(signature["outputs"])
        self.dtypes = [np.dtype(spec["dtype"]) for spec in signature["outputs"]]
        precision = "low" if manifest["precision"] == "float16" else "high"
        self.interpreter = MNN.Interpreter(str(folder / "model.mnn"))
        self.session = self.interpreter.createSession({"backend": "CPU", "precision": precision})
        names = [[spec["name"] for spec in signature[kind]] for kind in ("inputs", "outputs")]
        self.taken = [self.interpreter.getSessionInput(self.session, name) for name in names[0]]
        self.given = [self.interpreter.getSessionOutput(self.session, name) for name in names[1]]

    def __call__(self, *arrays: np.ndarray) -> list[np.ndarray]:
        for tensor, array in zip(self.taken, arrays, strict=True):
            self.interpreter.resizeTensor(tensor, array.shape)
        self.interpreter.resizeSession(self.session)
        for tensor, array in zip(self.taken, arrays, strict=True):
            tensor.copyFrom(host(np.ascontiguousarray(array, STORED.get(array.dtype.name, array.dtype))))
        if self.interpreter.runSession(self.session):
            raise RuntimeError("MNN failed to execute")
        return [read(tensor, dtype) for tensor, dtype in zip(self.given, self.dtypes, strict=True)]


def host(array: np.ndarray) -> Any:
    """A tensor that holds the array in its own order."""
    return MNN.Tensor(array.shape, TYPES[array.dtype.name], array, MNN.Tensor_DimensionType_Caffe)


def read(tensor: Any, dtype: np.dtype[Any]) -> np.ndarray:
    shape = tuple(tensor.getShape())
    copied = host(np.zeros(shape, STORED.get(dtype.name, dtype)))
    tensor.copyToHostTensor(copied)
    return np.array(copied.getNumpyData(), dtype).reshape(shape)
