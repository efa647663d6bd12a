"""Lowers a Program to ExecuTorch: what the XNNPACK delegate takes goes to it, the rest to ExecuTorch's own kernels."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from io import StringIO

import torch

from edgepress import graph
from edgepress.convert._executorch.patterns import rewrite
from edgepress.convert._executorch.quality import quality
from edgepress.convert._response_norm import spell_out_norms
from edgepress.errors import UnsupportedModel
from edgepress.history import Value
from edgepress.program import Program


@dataclass(frozen=True, eq=False)
class Lowered:
    """The content of a .pte file, and what its manifest says of it: it keeps no layer's name itself."""

    content: bytes
    quality: Mapping[str, Value]
    operators: tuple[tuple[str, str], ...]


def lowered(program: Program, batch: int) -> Lowered:
    """The program for inputs of `batch` samples. Raises UnsupportedModel with ExecuTorch's reason."""
    module = program.graph_module()
    operators = tuple(graph.layers(module))
    spell_out_norms(module)
    rewrite(module)
    with _quiet(), torch.no_grad():
        try:
            exported = torch.export.export(module, program.example_tensors(batch), strict=False)
            content, counts = _lowered(exported, is_quantized=program.precision == "int8")
        except Exception as error:  # each of its passes raises what it likes
            raise UnsupportedModel(
                f"ExecuTorch cannot lower this network: {_reason(error)}.",
                hint="write the layer that it names with other operators, or convert --to tflite",
            ) from error
    return Lowered(content, counts, operators)


def _lowered(
    exported: torch.export.ExportedProgram, *, is_quantized: bool
) -> tuple[bytes, Mapping[str, Value]]:
    from executorch.backends.transforms.remove_clone_ops import RemoveCloneOpsTransform
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import ExecutorchBackendConfig, to_edge_transform_and_lower
    from executorch.exir.passes import MemoryPlanningPass

    # A dropout or a reshape leaves copies behind that would keep the operators around them in float.
    without_copies = RemoveCloneOpsTransform(preserve_input_output_copies=True)
    edge = to_edge_transform_and_lower(
        exported, transform_passes=[without_copies], partitioner=[XnnpackPartitioner()]
    )
    # Counted now: the next step turns the operators outside of the delegate into others.
    counts = quality(edge, is_quantized=is_quantized)
    # The caller's arrays are read where they lie: no copy, and no room for them in the file's plan.
    planning = MemoryPlanningPass(alloc_graph_input=False)
    made = edge.to_executorch(ExecutorchBackendConfig(memory_planning_pass=planning))
    return bytes(made.buffer), counts


@contextmanager
def _quiet() -> Iterator[None]:
    """Without ExecuTorch's remarks on itself, and with the root logger as it was, which its import configures."""
    root = logging.getLogger()
    handlers, disabled = root.handlers[:], logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stderr(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        root.handlers[:] = handlers
        logging.disable(disabled)


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:3]).rstrip(".") or type(error).__name__
