"""From a Program to one ONNX file, with PyTorch's own exporter."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import torch
from annotated_types import Ge, Le
from torch.fx import Node

from edgepress import graph, plugins
from edgepress.artifact import Manifest, Precision
from edgepress.convert._converter import Converter
from edgepress.convert._dynamic import take_dynamic
from edgepress.convert._file_size import refuse_large
from edgepress.convert._onnx_writing.activations import (
    make_activations_symmetric,
    shift_activations_to_uint8,
)
from edgepress.convert._onnx_writing.blocks import read_in_blocks
from edgepress.convert._onnx_writing.dynamic import compute_dynamically
from edgepress.convert._onnx_writing.halves import store_halves
from edgepress.convert._onnx_writing.names import name_as_in_program
from edgepress.convert._onnx_writing.operators import translations
from edgepress.convert._onnx_writing.pack import pack_small_integers
from edgepress.convert._onnx_writing.quality import quality
from edgepress.convert._onnx_writing.silence import quiet
from edgepress.convert._onnx_writing.simplify import simplified
from edgepress.convert._onnx_writing.stored import rounds_activations
from edgepress.convert._onnx_writing.weights import unshare_zero_points
from edgepress.convert._overhang import without_overhang
from edgepress.convert._response_norm import with_plain_norms
from edgepress.convert._unsupported import UnsupportedOperator
from edgepress.errors import BadOption, UnsupportedModel
from edgepress.program import Program, tool_versions

if TYPE_CHECKING:
    import onnx_ir

OPSET_OF_SMALL_INTEGERS = 21
"""The first with integers of 4 bits, blocks, and activations of 16 bits."""


@dataclass(frozen=True, kw_only=True)
class ProgramToOnnx(Converter[Program]):
    """One ONNX file with a dynamic batch, its nodes named after the user's layers.

    opset: the ONNX operator set; 18 is what most runtimes of the last years read. A network that needs a newer one
        (packed or grouped weights, activations of 16 bits) gets 21.
    activations: the type of quantized activations. x86 processors are about three times faster on uint8; the two
        are exactly equivalent, as every zero point moves by 128. symmetric is int8 about zero, which TensorRT wants:
        the same ranges, at up to twice the step.
    weights: the type that a float network's weights are stored in. float16 halves the file; it is widened when the file
        is loaded, and computed in float32.
    packed: store 4-bit weights two in a byte, which takes opset 21, and those of 1 and 2 bits four in a byte, which takes
        opset 25, where the ONNX Runtime that is installed reads that, else two: older runtimes refuse such files.
    simplify: fold what can be folded with onnxsim (the extra `simplify`). Where that fails or changes an output, the file stays as it was,
        and the manifest notes why.
    """

    opset: Annotated[int, Ge(18), Le(23)] = 18
    activations: Literal["uint8", "int8", "symmetric"] = "uint8"
    simplify: bool = False
    packed: bool = True
    weights: Literal["float32", "float16"] = "float32"

    @classmethod
    def on_the_way(cls) -> ProgramToOnnx:
        return cls(packed=False)

    @classmethod
    def requires(cls) -> tuple[str, ...]:
        return ("onnx", "onnxscript")

    def check(self, source: Program) -> None:
        """Raise UnsupportedModel for what ONNX lacks, BadOption for weights=float16 of a quantized network, BackendMissing
        where simplify has no onnxsim."""
        if self.simplify:
            plugins.require("onnxsim", extra="simplify")
        if self.weights == "float16" and source.quantized is not None:
            raise BadOption(
                "weights=float16 is for float networks; this one is quantized.",
                where="--to onnx",
                hint="leave the option out",
            )
        super().check(source)

    def unsupported(self, source: Program) -> Sequence[UnsupportedOperator]:
        from edgepress.convert._onnx_writing.missing import missing

        refuse_large(source)
        return missing(_without_dynamic(source), self._opset(source))

    def write(self, source: Program, path: Path) -> Manifest:
        """Raises UnsupportedModel, naming the user's layer, for an operator that ONNX lacks."""
        import onnx
        import onnx_ir

        model = self._model(source)
        stored = source.quantized is not None and source.quantized.activations == "float"
        proto = onnx_ir.to_proto(model)
        note = ""
        if self.simplify:
            proto, note = simplified(proto, source.signature)
        onnx.save(proto, path)
        return Manifest(
            format="onnx",
            signature=source.signature,
            precision="int8" if stored and rounds_activations(model) else self._precision(source),
            quantized=source.quantized,
            preprocess=source.preprocess,
            labels=source.labels,
            tools=tool_versions("onnx", "onnxscript"),
            quality=quality(path),
            notes=(note,) if note else (),
        )

    def _model(self, source: Program) -> onnx_ir.Model:
        plain = with_plain_norms(without_overhang(_without_dynamic(source)))
        model = _export(plain, self._opset(source))
        name_as_in_program(model, plain)
        unshare_zero_points(model)
        if self.activations == "uint8":
            shift_activations_to_uint8(model)
        elif self.activations == "symmetric":
            make_activations_symmetric(model)
        if self.weights == "float16":
            store_halves(model)
        read_in_blocks(model)
        if source.quantized is not None and source.quantized.activations == "dynamic":
            compute_dynamically(model)
        if self.packed:
            pack_small_integers(model)
        return model

    def _precision(self, source: Program) -> Precision:
        return self.weights if source.precision == "float32" else source.precision

    def _opset(self, source: Program) -> int:
        form = source.quantized
        if form is None:
            return self.opset
        packed = self.packed and min(form.weight_bits, default=8) <= 4
        needed = packed or form.grouped or form.activations == "int16"
        return max(self.opset, OPSET_OF_SMALL_INTEGERS) if needed else self.opset


def _without_dynamic(program: Program) -> Program:
    """The program with float activations where their scale is found while it runs: layers get that in the ONNX graph."""
    if program.quantized is None or program.quantized.activations != "dynamic":
        return program
    module = program.graph_module()
    take_dynamic(module)
    return program.replace(module)


def _export(program: Program, opset: int) -> onnx_ir.Model:
    try:
        with quiet():
            exported = torch.onnx.export(
                program.exported,
                dynamo=True,
                opset_version=opset,
                verbose=False,
                custom_translation_table=translations(program),
            )
    except torch.onnx.OnnxExporterError as error:
        raise _translated(error, program) from error
    assert exported is not None, "the exporter returns a program unless it is told to write a file"
    return exported.model


def _translated(error: torch.onnx.OnnxExporterError, program: Program) -> UnsupportedModel:
    """The exporter's error, which speaks of a node of its own lowered graph, in terms of the user's layers."""
    chain = str(error)
    cause = error.__cause__
    while cause is not None:
        chain += f"\n{cause}"
        cause = cause.__cause__
    missing = re.search(r"No ONNX function found for <OpOverload\(op='([^']+)'", chain)
    failed = re.search(r"translating node %(\w+) ", chain)
    what = (
        f"has no operator for {missing[1]}" if missing else f"cannot take this network: {_innermost(error)}"
    )
    node = _node_like(failed[1], program) if failed else None
    where = f"layer {graph.layer_name(node)} | {graph.source_line(node)}" if node is not None else ""
    return UnsupportedModel(
        f"ONNX {what}.",
        where=where,
        hint="write the layer with other operators, or try a higher `opset`",
    )


def _node_like(name: str, program: Program) -> Node | None:
    """The operator that the exporter lowered to `name`: it keeps the name, or the end of it (special_erf: erf)."""
    graphs = (program.exported.graph, program.exported.run_decompositions().graph)
    nodes = [node for each in graphs for node in each.nodes if node.op == "call_function"]
    exact = [node for node in nodes if node.name == name]
    return next(iter(exact + [node for node in nodes if node.name.endswith(name)]), None)


def _innermost(error: BaseException) -> str:
    while (cause := error.__cause__) is not None:
        error = cause
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
