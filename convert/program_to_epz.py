"""Writes a coded program: the whole `.pt2` in far fewer bytes, bit for bit, decoded when it is loaded."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgepress import archive
from edgepress.artifact import PROGRAM_METADATA, Manifest
from edgepress.coding.file import CODED_FORMAT
from edgepress.coding.streams import CODERS
from edgepress.convert._converter import Converter
from edgepress.convert._unsupported import UnsupportedOperator
from edgepress.program import Program
from edgepress.records import encode


@dataclass(frozen=True, kw_only=True)
class ProgramToEpz(Converter[Program]):
    """One file to store and to send: weights that take few values, or are zero, shrink with their entropy. It loads
    wherever a .pt2 does, and computes as that does, no faster.

    coder: `smallest` takes for each weight what needs the fewest bytes, mostly asymmetric numeral systems (Duda,
        2014); `huffman` is what Deep Compression does (Han et al., 2016): the zeros between two weights, and the
        weights' codebook entries, in Huffman's codes.
    """

    coder: Literal["smallest", "huffman"] = "smallest"

    def unsupported(self, source: Program) -> Sequence[UnsupportedOperator]:
        """Nothing: whatever a program holds goes into the file."""
        return ()

    def write(self, source: Program, path: Path) -> Manifest:
        manifest = source.manifest()
        coders = CODERS if self.coder == "smallest" else ("huffman",)
        archive.save_coded(source.exported, path, {PROGRAM_METADATA: encode(manifest)}, coders)
        return dataclasses.replace(manifest, format=CODED_FORMAT)
