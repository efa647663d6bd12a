"""The captured network: PyTorch's exported graph with everything that has to travel with it.

A Program is never changed: a stage takes `graph_module()`, a copy, works on that, and hands it to
`replace`. It is saved as one standard `.pt2` archive and needs none of the user's code to load.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import importlib.metadata
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from torch.export import ExportedProgram
from torch.fx import GraphModule

from edgepress import __version__, archive, graph
from edgepress._exporting import export, quiet, with_flat_outputs, without_parametrizations
from edgepress._stored_parts import reads_parts, store_parts
from edgepress.artifact import (
    PROGRAM_FORMAT,
    PROGRAM_METADATA,
    Artifact,
    Manifest,
    Precision,
    program_manifest,
)
from edgepress.detection import Reading
from edgepress.errors import BadInput, UnsupportedModel
from edgepress.files import existing_file, replacing
from edgepress.history import History, Step
from edgepress.layer_output import LayerOutput
from edgepress.preprocess import Preprocess
from edgepress.quantized_form import QuantizedForm
from edgepress.records import encode
from edgepress.signature import Signature, TensorSpec
from edgepress.trainable import Trainable


@dataclass(frozen=True, eq=False)
class Program:
    """An exported network (its batch axis dynamic) with its signature, preprocessing, labels, history, and how
    its outputs are read where it detects."""

    exported: ExportedProgram
    signature: Signature
    preprocess: Preprocess | None = None
    labels: tuple[str, ...] = ()
    history: History = History()
    reading: Reading | None = None

    @classmethod
    def capture(
        cls,
        module: torch.nn.Module,
        example_inputs: Sequence[torch.Tensor],
        *,
        preprocess: Preprocess | None = None,
        labels: Sequence[str] = (),
    ) -> Program:
        """Export `module` in evaluation mode with a dynamic batch (axis 0 of every input).

        A detector says in its `reading` how its outputs become boxes (see edgepress.detection).
        Raises UnsupportedModel with PyTorch's reason and the source line when it cannot be exported.
        """
        try:
            copied = copy.deepcopy(module)
        except RuntimeError as error:
            # Weights made from others in a hook of the forward, as the old torch.nn.utils.weight_norm does.
            raise UnsupportedModel(
                f"PyTorch cannot copy this network: {str(error).partition('. ')[0]}.",
                where=type(module).__name__,
                hint="remove weight_norm or spectral_norm (torch.nn.utils.remove_weight_norm) before",
            ) from error
        prepared = with_flat_outputs(without_parametrizations(copied.eval()))
        exported = export(prepared, tuple(example_inputs))
        reading = getattr(module, "reading", None)
        captured = cls(
            exported,
            _signature(exported),
            preprocess,
            tuple(labels),
            reading=reading if isinstance(reading, get_args(Reading)) else None,
        )
        if not reads_parts(exported):
            return captured
        graph_module = captured.graph_module()
        store_parts(graph_module)
        return captured.replace(graph_module)

    @classmethod
    def load(cls, path: str | Path) -> Program:
        """Read a `.pt2` or a `.epz` after checking that it is only data (see edgepress.archive)."""
        found = existing_file(path, "program")
        manifest = program_manifest(found)
        with quiet():
            exported = archive.load(found)
        if _signature(exported).tensors() != manifest.signature.tensors():
            # Their names may differ: rewriting renames nodes.
            raise BadInput(
                "The network's inputs or outputs are not those of its manifest.",
                where=str(found),
                hint="save it again, or copy the file again",
            )
        return cls(
            exported,
            manifest.signature,
            manifest.preprocess,
            manifest.labels,
            manifest.history,
            manifest.reading,
        )

    def save(self, path: str | Path) -> Artifact:
        """Write the `.pt2` archive, whole or not at all."""
        path = Path(path)
        if path.suffix != f".{PROGRAM_FORMAT}":
            raise BadInput(
                f"A program is saved as .{PROGRAM_FORMAT}, not {path.suffix!r}.",
                where=str(path),
                hint="a path that ends in .pt2",
            )
        with replacing(path) as temporary:
            archive.save(self.exported, temporary, {PROGRAM_METADATA: encode(self.manifest())})
        return Artifact.open(path)

    def manifest(self) -> Manifest:
        return Manifest(
            format=PROGRAM_FORMAT,
            signature=self.signature,
            precision=self.precision,
            quantized=self.quantized,
            preprocess=self.preprocess,
            reading=self.reading,
            labels=self.labels,
            history=self.history,
            tools=tool_versions("torch"),
        )

    @functools.cached_property
    def precision(self) -> Precision:
        """What it computes in: int8 where activations are integers (of 16 bits, too), else the type of its parameters."""
        if self.quantized is not None and self.quantized.activations != "float":
            return "int8"
        halves = (value.dtype == torch.float16 for value in self.exported.state_dict.values())
        return "float16" if any(halves) else "float32"

    @functools.cached_property
    def quantized(self) -> QuantizedForm | None:
        """The form in which it is quantized; None for a float network."""
        return graph.quantized_form(self.exported.graph_module)

    def graph_module(self) -> GraphModule:
        """A copy of the graph with parameters and buffers as attributes, free to edit."""
        with quiet():
            return graph.copied(self.exported.module(check_guards=False))

    def module(self) -> Trainable:
        """An ordinary nn.Module, a copy, in evaluation mode; `train()` and `eval()` work as usual."""
        return Trainable(self.graph_module())

    def replace(self, module: GraphModule | Trainable) -> Program:
        """This program with its graph and weights taken from an edited `graph_module()` or a trained `module()`."""
        graph_module = module.graph_module if isinstance(module, Trainable) else module
        if isinstance(module, Trainable):
            module.eval()
        graph_module.graph.eliminate_dead_code()
        graph_module.graph.lint()
        graph_module.recompile()
        exported = export(graph_module, self.example_tensors(batch=2))
        return dataclasses.replace(
            self, exported=exported, signature=_renamed(_signature(exported), self.signature)
        )

    def with_step(self, step: Step) -> Program:
        return dataclasses.replace(self, history=self.history.then(step))

    def example_tensors(self, batch: int = 1, seed: int = 0) -> tuple[torch.Tensor, ...]:
        return tuple(torch.from_numpy(array) for array in self.signature.example(batch, seed))

    def run(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        """Execute on NumPy arrays that fit the signature; one array an output."""
        self.signature.check_inputs(arrays)
        return graph.run(self._runnable, arrays)

    def layer_outputs(self, *arrays: np.ndarray) -> tuple[LayerOutput, ...]:
        """What every operator gives on the way, under the user's layer names, in execution order."""
        self.signature.check_inputs(arrays)
        return graph.layer_outputs(self.graph_module(), [torch.from_numpy(array) for array in arrays])

    @functools.cached_property
    def _runnable(self) -> torch.nn.Module:
        return self.exported.module(check_guards=False)


def tool_versions(*modules: str) -> dict[str, str]:
    """The versions of edgepress, Python and the named modules, as manifests record them."""
    found = {"edgepress": __version__, "python": platform.python_version()}
    return found | {module: importlib.metadata.version(module) for module in modules}


def _signature(exported: ExportedProgram) -> Signature:
    values = {node.name: node.meta.get("val") for node in exported.graph.nodes}
    inputs = tuple(_spec(name, values.get(name, name)) for name in exported.graph_signature.user_inputs)
    outputs = tuple(_spec(name, values.get(name, name)) for name in exported.graph_signature.user_outputs)
    return Signature(inputs, outputs)


def _spec(name: Any, value: object) -> TensorSpec:
    if not isinstance(value, torch.Tensor):
        raise UnsupportedModel(
            f"The network takes or returns {name!r}, which is not a tensor but {type(value).__name__}.",
            hint="wrap it in a module whose forward takes and returns tensors only",
        )
    shape = tuple(size if isinstance(size, int) else None for size in value.shape)
    dtype = str(value.dtype).removeprefix("torch.")
    if not _is_numpys(dtype):
        raise UnsupportedModel(
            f"The network takes or returns {name!r} as {dtype}, which arrays cannot hold.",
            hint="convert the network: model.float()",
        )
    return TensorSpec(name, shape, dtype)


def _is_numpys(dtype: str) -> bool:
    """Whether it is a type of NumPy's own: other packages teach it bfloat16, as a kind that computes nothing."""
    try:
        return np.dtype(dtype).kind in "biufc"
    except TypeError:
        return False


def _renamed(new: Signature, old: Signature) -> Signature:
    """`new` under the names of `old`: rewriting must not change what callers see."""
    if len(new.inputs) != len(old.inputs) or len(new.outputs) != len(old.outputs):
        return new
    return new.renamed([spec.name for spec in old.inputs], [spec.name for spec in old.outputs])
