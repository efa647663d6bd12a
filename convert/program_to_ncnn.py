"""Writes an ncnn file, graph and weights in one, with ncnn's own converter pnnx."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from weakref import WeakKeyDictionary

from edgepress.artifact import Manifest
from edgepress.convert._converter import Converter
from edgepress.convert._file_size import refuse_large
from edgepress.convert._overhang import spell_out
from edgepress.convert._response_norm import spell_out_norms
from edgepress.convert._unsupported import UnsupportedOperator
from edgepress.errors import BadOption, UnsupportedModel
from edgepress.ncnn_file import NCNN_FORMAT, write
from edgepress.program import Program, tool_versions
from edgepress.signature import Signature

if TYPE_CHECKING:
    from edgepress.convert._ncnn.pnnx import Converted


@dataclass(frozen=True, kw_only=True)
class ProgramToNcnn(Converter[Program]):
    """An ncnn file for one sample at a time: ncnn's tensors have no batch axis. A quantized network's convolutions and
    linear layers become int8.

    weights: the type that a float network's weights are stored in. float16 halves the file; ncnn then also
    computes in half precision where the processor can.
    """

    weights: Literal["float32", "float16"] = "float32"

    @classmethod
    def requires(cls) -> tuple[str, ...]:
        return ("ncnn", "pnnx")

    @classmethod
    def extra(cls) -> str:
        return "ncnn"

    def check(self, source: Program) -> None:
        """Raise UnsupportedModel, naming the user's layers, for what ncnn lacks, BadOption for weights=float16 of a
        quantized network."""
        if source.precision == "int8" and self.weights == "float16":
            raise BadOption(
                "weights=float16 is for float networks; this one is quantized to int8.",
                where="--to ncnn",
                hint="leave the option out",
            )
        super().check(source)

    def unsupported(self, source: Program) -> Sequence[UnsupportedOperator]:
        """Only converting tells: what that gives is kept for `write`."""
        refuse_large(source)
        _check_inputs(source.signature)
        waiting = _checked.setdefault(source, {})
        if self not in waiting:
            waiting[self] = self._converted(source)
        made = waiting[self]
        return made if isinstance(made, tuple) else ()

    def write(self, source: Program, path: Path) -> Manifest:
        from edgepress.convert._ncnn.int8 import quality

        self.check(source)
        made = _checked[source].pop(self)
        assert not isinstance(made, tuple), "what `check` lets through is converted"
        write(path, made.graph, made.weights)
        return Manifest(
            format=NCNN_FORMAT,
            signature=source.signature.with_batch(1),
            precision="int8" if source.precision == "int8" else self.weights,
            preprocess=source.preprocess,
            labels=source.labels,
            tools=tool_versions("ncnn", "pnnx"),
            quality=quality(made.graph),
        )

    def _converted(self, source: Program) -> Converted | tuple[UnsupportedOperator, ...]:
        from edgepress.convert._ncnn.int8 import with_integers
        from edgepress.convert._ncnn.integers import take_integers
        from edgepress.convert._ncnn.layers import named_as_in_program, unknown, weighted_pairs
        from edgepress.convert._ncnn.pnnx import converted

        module = source.graph_module()
        spell_out(module)
        spell_out_norms(module)
        integers = take_integers(module)
        made = converted(module, source.example_tensors(batch=1), half=self.weights == "float16")
        if refused := unknown(made.graph, module):
            return refused
        pairs = weighted_pairs(made, module)
        if source.precision == "int8":
            made = with_integers(made, pairs, integers)
        return dataclasses.replace(made, graph=named_as_in_program(made.graph, pairs))


_checked: WeakKeyDictionary[Program, dict[ProgramToNcnn, Converted | tuple[UnsupportedOperator, ...]]] = (
    WeakKeyDictionary()
)
"""What `unsupported` has converted and `write` has not yet written, or the places for which it cannot be."""


def _check_inputs(signature: Signature) -> None:
    for spec in signature.inputs:
        if spec.dtype != "float32" or not 2 <= len(spec.shape) <= 5:
            raise UnsupportedModel(
                "ncnn takes float32 inputs with one to four axes after the batch axis.",
                where=f"input {spec}",
                hint="give the network inputs like that, or convert --to onnx",
            )
