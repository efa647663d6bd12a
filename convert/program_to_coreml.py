"""Writes a Core ML program with coremltools; what it stores is compared, for Core ML itself runs only on macOS."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgepress.artifact import Manifest
from edgepress.convert._by_values import sized_by_values
from edgepress.convert._converter import Converter
from edgepress.convert._coreml.convert import Weights, converted
from edgepress.convert._coreml.weights import checked
from edgepress.convert._file_size import refuse_large
from edgepress.convert._unsupported import UnsupportedOperator
from edgepress.coreml_file import COREML_FORMAT, write
from edgepress.errors import BadOption
from edgepress.program import Program, tool_versions


@dataclass(frozen=True, kw_only=True)
class ProgramToCoreml(Converter[Program]):
    """A .coreml file, which unzips to model.mlpackage, for one sample at a time (iOS 17, macOS 14 and newer).

    weights: how a float network's weights are stored. With all but float32, Core ML computes in half precision, as
    the Neural Engine does. int8 has a scale an output channel; palette4 has 16 values a tensor. A quantized network
    keeps the integers and scales that it has, of its activations, too.
    """

    weights: Weights = "float32"

    @classmethod
    def requires(cls) -> tuple[str, ...]:
        return ("coremltools",)

    @classmethod
    def extra(cls) -> str:
        return "coreml"

    def check(self, source: Program) -> None:
        """Raise BadOption for a type of weights that a quantized network cannot have."""
        if source.precision == "int8" and self.weights != "float32":
            raise BadOption(
                f"weights={self.weights} is for float networks; this one is quantized to int8.",
                where="--to coreml",
                hint="leave the option out",
            )
        super().check(source)

    def unsupported(self, source: Program) -> Sequence[UnsupportedOperator]:
        from edgepress.convert._coreml.preflight import untranslated

        refuse_large(source)
        return sized_by_values(source, "Core ML") or untranslated(source)

    def write(self, source: Program, path: Path) -> Manifest:
        """Raises UnsupportedModel for what coremltools cannot express, VerificationFailed when what it stores is not
        the network."""
        with tempfile.TemporaryDirectory(prefix="edgepress-") as folder:
            package = converted(source, self.weights, Path(folder))
            quality = checked(package, source, self.weights)
            write(path, Path(folder))
        return Manifest(
            format=COREML_FORMAT,
            signature=source.signature.with_batch(1),
            precision="int8" if source.precision == "int8" else self.weights,
            preprocess=source.preprocess,
            labels=source.labels,
            tools=tool_versions("coremltools"),
            quality=quality,
        )
