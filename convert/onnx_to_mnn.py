"""Writes an MNN file with MNN's own converter; int8 with the integers and scales of our own quantized graph."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgepress.artifact import Artifact, Manifest
from edgepress.convert._converter import Converter
from edgepress.convert._mnn.between import keep_float_between
from edgepress.convert._mnn.convert import converted, layers, quantized
from edgepress.convert._mnn.int8 import compression_parameters, matched
from edgepress.convert._onnx_writing.float_twin import float_twin
from edgepress.convert._unsupported import UnsupportedOperator
from edgepress.errors import BadOption, UnsupportedModel
from edgepress.history import Value
from edgepress.program import tool_versions

OPTIONS: Mapping[str, tuple[str, ...]] = {
    "float32": (),
    "float16": ("--fp16",),
    "int8": ("--weightQuantBits", "8", "--weightQuantAsymmetric=false"),
}
"""Symmetric, so that zero stays zero: the rounding of many equal weights would add up in one direction."""


@dataclass(frozen=True, kw_only=True)
class OnnxToMnn(Converter[Artifact]):
    """An MNN file with a dynamic batch. A quantized network's convolutions and linear layers become int8.

    weights: the type that a float network's weights are stored in. float16 halves the file; int8 (MNN rounds them,
    one scale an output channel) quarters it; MNN computes in float with both.
    """

    weights: Literal["float32", "float16", "int8"] = "float32"

    @classmethod
    def requires(cls) -> tuple[str, ...]:
        return ("MNN", "onnx_ir")

    @classmethod
    def extra(cls) -> str:
        return "mnn"

    def check(self, source: Artifact) -> None:
        """Raise BadOption for a type of weights that a quantized network cannot have."""
        if source.manifest.precision == "int8" and self.weights != "float32":
            raise BadOption(
                f"weights={self.weights} is for float networks; this one is quantized to int8.",
                where="--to mnn",
                hint="leave the option out",
            )
        super().check(source)

    def unsupported(self, source: Artifact) -> Sequence[UnsupportedOperator]:
        from edgepress.convert._mnn.preflight import unsupported

        return unsupported(source.path)

    def write(self, source: Artifact, path: Path) -> Manifest:
        """Raises UnsupportedModel, with MNN's words, for what its converter lacks or crashes on."""
        is_quantized = source.manifest.precision == "int8"
        with tempfile.TemporaryDirectory(prefix="edgepress-") as name:
            made = Path(name, "model.mnn")
            quality: Mapping[str, Value] = {}
            if is_quantized:
                quality = _write_int8(source.path, made)
            else:
                converted(source.path.absolute(), made, *OPTIONS[self.weights])
            path.write_bytes(made.read_bytes())
        return dataclasses.replace(
            source.manifest,
            format="mnn",
            precision="int8" if is_quantized else self.weights,
            tools=dict(source.manifest.tools) | tool_versions("MNN"),
            quality=quality,
            verification=None,
        )


def _write_int8(source: Path, made: Path) -> dict[str, Value]:
    """How many layers with weights compute in int8, and how many in float."""
    import onnx_ir

    folder = made.parent
    model = onnx_ir.load(source)
    ours = float_twin(model)
    keep_float_between(model, ours)
    onnx_ir.save(model, folder / "float.onnx")
    converted(folder / "float.onnx", folder / "float.mnn")
    theirs = layers(folder / "float.mnn")
    pairs = matched(ours, theirs)
    if not pairs:
        raise UnsupportedModel(
            "None of the quantized layers can be int8 in MNN.",
            hint="convert the float network, or --to tflite",
        )
    (folder / "scales.json").write_text(compression_parameters(pairs), encoding="utf-8")
    quantized(folder / "float.mnn", folder / "scales.json", made)
    return {"int8_layers": len(pairs), "float_layers": len(theirs) - len(pairs)}
