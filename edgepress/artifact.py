"""A file (or folder) that some runtime loads, and the manifest that says what it is.

The manifest lies beside it as `<file name>.manifest.json`. A `.pt2` and a `.epz` need none: they carry their own.
No torch here, and pydantic only where JSON is read or written: a device has neither.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from edgepress._archive_zip import read_member
from edgepress.coding.file import CODED_FORMAT, read_text
from edgepress.detection import Reading
from edgepress.errors import BadInput
from edgepress.files import sha256, write_text
from edgepress.history import History, Value
from edgepress.preprocess import Preprocess
from edgepress.quantized_form import QuantizedForm
from edgepress.records import decode, encode
from edgepress.signature import Signature

PROGRAM_FORMAT = "pt2"
PROGRAM_METADATA = "edgepress.json"
"""The member of a .pt2's extra files that holds our JSON."""
MOST_METADATA_BYTES = 16 << 20
MANIFEST_ENDING = ".manifest.json"
PROGRAM_FORMATS = (PROGRAM_FORMAT, CODED_FORMAT)
"""The files that hold a whole Program, coded or not."""
MADE_ANEW = "convert it again, or copy both files again"
"""The way out where a file and its manifest do not belong together."""

Layout = Literal["NCHW", "NHWC"]
Precision = Literal["float32", "float16", "int8", "palette4"]
"""palette4: weights of 16 values a tensor, computed with in half precision."""


@dataclass(frozen=True, kw_only=True)
class Verification:
    """What the file's outputs were compared with, and how that went. `status` is "skipped" when no
    runtime could run it: that is not a success."""

    status: Literal["passed", "failed", "skipped"]
    runner: str = ""
    reference: str = ""
    results: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a file is. `signature` is the Program's own (images NCHW) whatever the file's `layout`: a
    Runner converts, so that every runner of the same network takes the same arrays. `quantized` is the network's form,
    whatever the file makes of it. `reading` says how a detector's outputs become boxes. `quality` are the converter's
    counts of what its runtimes do slowly, such as transposes. `bound_to` names the GPU and the versions outside of
    which the file does not load; it is empty for a file that runs anywhere. `operators` are the layers and their types in
    execution order, of a file that does not name them itself. `notes` are for
    the user: for instance which step was left out, and why."""

    format: str
    signature: Signature
    layout: Layout = "NCHW"
    precision: Precision = "float32"
    quantized: QuantizedForm | None = None
    preprocess: Preprocess | None = None
    reading: Reading | None = None
    labels: tuple[str, ...] = ()
    history: History = History()
    sha256: str = ""
    size_bytes: int = 0
    tools: Mapping[str, str] = field(default_factory=dict)
    quality: Mapping[str, Value] = field(default_factory=dict)
    bound_to: Mapping[str, str] = field(default_factory=dict)
    operators: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    verification: Verification | None = None


@dataclass(frozen=True)
class Artifact:
    path: Path
    manifest: Manifest

    @property
    def format(self) -> str:
        return self.manifest.format

    @classmethod
    def open(cls, path: str | Path) -> Artifact:
        """Read the manifest and check that the file is the one it describes; BadInput otherwise."""
        path = Path(path)
        if not path.exists():
            raise BadInput(
                f"There is no file {path.name!r}.", where=str(path.absolute()), hint="check the path"
            )
        beside = manifest_path(path)
        if path.suffix == f".{PROGRAM_FORMAT}" or (path.suffix == f".{CODED_FORMAT}" and not beside.exists()):
            return cls(path, program_manifest(path))
        if not beside.is_file():
            raise BadInput(
                f"{path.name!r} has no manifest ({beside.name}).",
                where=str(path.absolute()),
                hint="write the file with edgepress convert, which also writes the manifest",
            )
        artifact = cls(path, _decode(beside.read_bytes(), beside))
        if artifact.manifest.sha256 != sha256(path):
            raise artifact.other_than_stated("the hash differs")
        return artifact

    @classmethod
    def describe(cls, path: Path, manifest: Manifest) -> Artifact:
        """Write the manifest of a file just made, with the file's hash and size filled in."""
        manifest = dataclasses.replace(manifest, sha256=sha256(path), size_bytes=path.stat().st_size)
        artifact = cls(path, manifest)
        artifact.write_manifest()
        return artifact

    def verified(self, verification: Verification) -> Artifact:
        """The same artifact with the outcome of its verification on record."""
        manifest = dataclasses.replace(self.manifest, verification=verification)
        artifact = Artifact(self.path, manifest)
        if self.format != PROGRAM_FORMAT:
            artifact.write_manifest()
        return artifact

    def other_than_stated(self, difference: str) -> BadInput:
        """The error for a file that is not what its manifest says, to be raised by who finds out."""
        return BadInput(
            f"{self.path.name!r} does not match its manifest: {difference}.",
            where=str(self.path.absolute()),
            hint=MADE_ANEW,
        )

    def write_manifest(self) -> None:
        write_text(manifest_path(self.path), encode(self.manifest) + "\n")


def manifest_path(path: Path) -> Path:
    return path.with_name(f"{path.name}{MANIFEST_ENDING}")


def program_manifest(path: Path) -> Manifest:
    """The manifest inside a file that holds a whole Program: of the Program, whatever lies beside the file."""
    format, name = path.suffix.removeprefix("."), f"extra/{PROGRAM_METADATA}"
    if format == CODED_FORMAT:
        content = read_text(path, name)
    else:
        content = read_member(path, name, MOST_METADATA_BYTES)
    manifest = _decode(content, path)
    return dataclasses.replace(manifest, format=format, sha256=sha256(path), size_bytes=path.stat().st_size)


def _decode(content: bytes, where: Path) -> Manifest:
    manifest = decode(Manifest, content, "The manifest", where=str(where), hint=MADE_ANEW)
    try:
        _check_signature(manifest.signature)
    except (ValueError, TypeError) as error:
        raise BadInput(f"The manifest cannot be read: {error}.", where=str(where), hint=MADE_ANEW) from None
    return manifest


def _check_signature(signature: Signature) -> None:
    """Raise ValueError or TypeError for tensors that no network has."""
    if not signature.inputs or not signature.outputs:
        raise ValueError("a network without inputs or outputs")
    for spec in (*signature.inputs, *signature.outputs):
        np.dtype(spec.dtype)
        if min(spec.with_batch(1), default=1) < 0:
            raise ValueError(f"a shape below zero: {spec}")
