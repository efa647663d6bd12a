"""From an ONNX file of any framework (opset 11 and newer) to a Program, which can be compressed and converted again."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from edgepress.convert._onnx_reading import model as onnx_model
from edgepress.convert._onnx_reading.network import Network
from edgepress.convert._onnx_reading.passes import prepared
from edgepress.convert._reader import Reader
from edgepress.errors import BadInput, UnsupportedModel
from edgepress.preprocess import Preprocess
from edgepress.program import Program

EXPORTED_AGAIN = "export it with a dynamic batch, or simplify it with onnxsim before"


@dataclass(frozen=True, kw_only=True)
class OnnxToProgram(Reader):
    """Our own reader: every operator becomes functions of PyTorch under the node's or the weight's name.

    shape: the sizes of one sample, for a model that leaves more free than the batch. A batch that the file fixes
    becomes free.
    """

    shape: tuple[int, ...] | None = None

    @classmethod
    def requires(cls) -> tuple[str, ...]:
        return ("onnx",)

    def read(self, path: Path, preprocess: Preprocess | None = None) -> Program:
        """Raises BadInput for a file that is no model, UnsupportedModel for what cannot be captured."""
        model = prepared(onnx_model.load(path))
        if not model.inputs:
            raise BadInput(
                "The model has no inputs.",
                where=str(path),
                hint="export it with its inputs, not folded into constants",
            )
        batch = _fixed_batch(model)
        network = Network(model, batch)
        examples = self._examples(model, path, 2)
        with torch.no_grad():
            if batch is not None:
                network.learn_sizes(*self._examples(model, path, batch))
            network(*examples)  # what cannot be read says so here; from the export, only PyTorch would speak
        try:
            program = Program.capture(network, examples, preprocess=preprocess)
        except UnsupportedModel as error:  # PyTorch would name a line of ours
            raise UnsupportedModel(error.what, where=str(path), hint=EXPORTED_AGAIN) from error
        for node in program.exported.graph.nodes:
            node.meta.pop("stack_trace", None)  # it would show lines of ours: the layer's name says where
        names = [given.name for given in model.inputs]
        return dataclasses.replace(program, signature=program.signature.renamed(names, model.outputs))

    def batch(self, path: Path) -> int | None:
        return _fixed_batch(onnx_model.load(path))

    def _examples(self, model: onnx_model.Model, path: Path, batch: int) -> tuple[torch.Tensor, ...]:
        """Zeros for each input, so many samples."""
        return tuple(
            torch.from_numpy(np.zeros((batch, *self._sample_shape(given, path)), given.dtype))
            for given in model.inputs
        )

    def _sample_shape(self, given: onnx_model.Input, path: Path) -> tuple[int, ...]:
        if not given.shape:
            raise UnsupportedModel(
                f"The input {given.name!r} has no batch axis.",
                where=str(path),
                hint="export it with inputs whose first axis counts samples",
            )
        if self.shape is not None and len(self.shape) == len(given.shape) - 1:
            return self.shape
        free = [axis for axis, size in enumerate(given.shape) if axis and size is None]
        if free:
            raise UnsupportedModel(
                f"The input {given.name!r} has dynamic axes {free}: only the batch axis may be dynamic.",
                where=str(path),
                hint="--input 3x224x224 fixes the sizes of one sample",
            )
        return tuple(size for size in given.shape[1:] if size is not None)


def _fixed_batch(model: onnx_model.Model) -> int | None:
    """The first axis of all inputs; None where it is free or they disagree."""
    sizes = {given.shape[0] if given.shape else None for given in model.inputs}
    return sizes.pop() if len(sizes) == 1 else None
