"""A `.paddle` file: Paddle's inference model, model.json (the graph) and model.pdiparams (the weights), joined."""

from __future__ import annotations

from pathlib import Path

from edgepress import joined_file

PADDLE_FORMAT = "paddle"
MEMBERS = ("model.json", "model.pdiparams")


def write(path: Path, folder: Path) -> None:
    """Join the two files in `folder` at `path`."""
    joined_file.join(path, {name: (folder / name).read_bytes() for name in MEMBERS})


def unpack(path: Path, folder: Path) -> tuple[Path, ...]:
    """Put the two files into `folder`; BadInput for a file that does not hold just them, whole and as written."""
    return joined_file.unpack(path, MEMBERS, folder, format=PADDLE_FORMAT)
