"""Runs pnnx, ncnn's own converter, in a process and a folder of its own: it may crash, and leaves files behind."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.fx import GraphModule

from edgepress.errors import UnsupportedModel
from edgepress.isolation import run


@dataclass(frozen=True)
class Converted:
    """The text of the .param file and the content of the .bin file, weights in float32 or float16."""

    graph: str
    weights: bytes


def converted(module: GraphModule, inputs: Sequence[torch.Tensor], *, half: bool) -> Converted:
    """What pnnx makes of the module for inputs of just these shapes.

    Raises UnsupportedModel, with pnnx's last words, when it makes nothing.
    """
    with tempfile.TemporaryDirectory(prefix="edgepress-") as name:
        folder = Path(name)
        _trace(module, inputs, folder / "model.pt")
        shapes = ",".join(f"[{','.join(map(str, tensor.shape))}]f32" for tensor in inputs)
        said = _run(["model.pt", f"inputshape={shapes}", f"fp16={int(half)}"], folder)
        graph, weights = folder / "model.ncnn.param", folder / "model.ncnn.bin"
        if not graph.is_file() or not weights.is_file():
            raise UnsupportedModel(
                f"pnnx cannot convert this network: {said}.",
                hint="--to onnx or --to tflite; or write the layer that pnnx names with other operators",
            )
        return Converted(graph.read_text(encoding="utf-8"), weights.read_bytes())


def _trace(module: GraphModule, inputs: Sequence[torch.Tensor], path: Path) -> None:
    """TorchScript, which pnnx reads. Tracing needs no checks: the graph has no branches.

    PyTorch's own writer ends the process where the disk is full, so the bytes are written here.
    """
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(module, tuple(inputs), check_trace=False)
        path.write_bytes(traced.save_to_buffer())


def _run(arguments: Sequence[str], folder: Path) -> str:
    """How it ended, in one line."""
    import pnnx

    return run([pnnx.EXEC_PATH, *arguments], folder).said
