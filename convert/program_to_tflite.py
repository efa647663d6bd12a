"""Writes a TFLite file straight from the captured graph, for LiteRT on phones and boards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal
from weakref import WeakKeyDictionary

from annotated_types import Gt, Le

from edgepress.artifact import Manifest, Precision
from edgepress.convert._converter import Converter
from edgepress.convert._file_size import refuse_large
from edgepress.convert._unsupported import UnsupportedOperator
from edgepress.errors import BadOption
from edgepress.graph import QUANTIZE
from edgepress.program import Program, tool_versions

if TYPE_CHECKING:
    from edgepress.convert._tflite.model import Model


@dataclass(frozen=True, kw_only=True)
class ProgramToTflite(Converter[Program]):
    """Write a TFLite file for LiteRT: NHWC inside, batch-norm and activations folded, int8 where the network is quantized.

    The file takes exactly `batch` samples at once. `io` is what a quantized file takes and gives: float32, converted
    inside, or int8 in the network's own scales. `weights` are the type that a float network's weights are stored in.
    `packed` stores weights of at most 4 bits two in a byte (LiteRT's convolutions read no fewer); between int8
    activations LiteRT then computes convolutions about three times slower than with a byte for each. Where activations
    have one bit, every weight gets a byte: the kernels that unpack round twice, which one bit turns into another network.
    """

    batch: Annotated[int, Gt(0), Le(4096)] = 1
    io: Literal["float32", "int8"] = "float32"
    weights: Literal["float32", "float16"] = "float32"
    packed: bool = True

    @classmethod
    def requires(cls) -> tuple[str, ...]:
        return ("ai_edge_litert", "flatbuffers")

    @classmethod
    def extra(cls) -> str:
        return "tflite"

    def check(self, source: Program) -> None:
        """Raise UnsupportedModel for operators (or uses of them) that TFLite lacks and for weights beyond one file,
        BadOption for weights=float16 of a quantized network."""
        if self.weights == "float16" and source.quantized is not None:
            raise BadOption(
                "weights=float16 is for float networks; this one is quantized.",
                where="--to tflite",
                hint="leave the option out",
            )
        super().check(source)

    def unsupported(self, source: Program) -> Sequence[UnsupportedOperator]:
        from edgepress.convert._tflite.lowered import lowered

        refuse_large(source)
        waiting = _checked.setdefault(source, {})
        if self not in waiting:
            packed = self.packed and not _has_one_bit(source)
            waiting[self] = lowered(source, self.batch, self.io, packed)
        made = waiting[self]
        return made if isinstance(made, tuple) else ()

    def write(self, source: Program, path: Path) -> Manifest:
        from edgepress.convert._tflite.file import serialize
        from edgepress.convert._tflite.lowered import holds_images
        from edgepress.convert._tflite.quality import quality
        from edgepress.convert._tflite.tidy import with_half_weights

        self.check(source)
        model = _checked[source].pop(self)
        assert not isinstance(model, tuple), "what `check` lets through is lowered"
        if self.weights == "float16":
            model = with_half_weights(model)
        path.write_bytes(serialize(model))
        return Manifest(
            format="tflite",
            signature=source.signature.with_batch(self.batch),
            layout="NHWC" if holds_images(source) else "NCHW",
            precision=self._precision(source),
            quantized=source.quantized,
            preprocess=source.preprocess,
            labels=source.labels,
            tools=tool_versions("ai-edge-litert", "flatbuffers"),
            quality=quality(model),
        )

    def _precision(self, source: Program) -> Precision:
        return "int8" if source.precision == "int8" else self.weights


def _has_one_bit(program: Program) -> bool:
    """Whether an activation has two integers, the last that int8 has."""
    nodes = program.exported.graph.find_nodes(op="call_function", target=QUANTIZE)
    return any(node.args[2] == node.args[4] - 1 for node in nodes)


_checked: WeakKeyDictionary[Program, dict[ProgramToTflite, Model | tuple[UnsupportedOperator, ...]]] = (
    WeakKeyDictionary()
)
"""What was lowered and not yet written, or the places for which it cannot be: lowering is the check, not done twice."""
