"""A `.coreml` file: the folder model.mlpackage, as Xcode opens it, its files joined in one plain zip."""

from __future__ import annotations

from pathlib import Path

from edgepress import joined_file

COREML_FORMAT = "coreml"
PACKAGE = "model.mlpackage"
MODEL = f"{PACKAGE}/Data/com.apple.CoreML/model.mlmodel"
WEIGHTS = f"{PACKAGE}/Data/com.apple.CoreML/weights/weight.bin"
MEMBERS = (f"{PACKAGE}/Manifest.json", MODEL, WEIGHTS)


def write(path: Path, folder: Path) -> None:
    """Join the package in `folder` at `path`."""
    joined_file.join(path, {name: (folder / name).read_bytes() for name in MEMBERS})


def unpack(path: Path, folder: Path) -> Path:
    """Put the package into `folder`; BadInput for a file that does not hold just it, whole and as written."""
    joined_file.unpack(path, MEMBERS, folder, format=COREML_FORMAT)
    return folder / PACKAGE
