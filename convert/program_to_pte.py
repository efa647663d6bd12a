"""Writes an ExecuTorch file, its network in the XNNPACK delegate, for the CPUs of phones (QNNPACK's successor)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from annotated_types import Gt, Le

from edgepress.artifact import Manifest
from edgepress.convert._by_values import sized_by_values
from edgepress.convert._converter import Converter
from edgepress.convert._file_size import refuse_large
from edgepress.convert._unsupported import UnsupportedOperator
from edgepress.program import Program, tool_versions


@dataclass(frozen=True, kw_only=True)
class ProgramToPte(Converter[Program]):
    """An ExecuTorch file for exactly `batch` samples at once. A quantized network is int8 with its own scales; nothing
    is calibrated again. What the delegate does not take runs on ExecuTorch's portable kernels, in float."""

    batch: Annotated[int, Gt(0), Le(4096)] = 1

    @classmethod
    def requires(cls) -> tuple[str, ...]:
        return ("executorch",)

    @classmethod
    def extra(cls) -> str:
        return "executorch"

    def unsupported(self, source: Program) -> Sequence[UnsupportedOperator]:
        from edgepress.convert._executorch.kernels import without_kernel

        refuse_large(source)
        return sized_by_values(source, "ExecuTorch") or without_kernel(source)

    def write(self, source: Program, path: Path) -> Manifest:
        """Raises UnsupportedModel, with ExecuTorch's words, for what its passes refuse."""
        from edgepress.convert._executorch.lowering import lowered

        made = lowered(source, self.batch)
        path.write_bytes(made.content)
        return Manifest(
            format="pte",
            signature=source.signature.with_batch(self.batch),
            precision=source.precision,
            preprocess=source.preprocess,
            labels=source.labels,
            tools=tool_versions("executorch"),
            quality=made.quality,
            operators=made.operators,
        )
