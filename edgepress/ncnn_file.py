"""A `.ncnn` file: ncnn's two files, model.param (the graph, as text) and model.bin (the weights), joined."""

from __future__ import annotations

from pathlib import Path

from edgepress import joined_file

NCNN_FORMAT = "ncnn"
GRAPH, WEIGHTS = "model.param", "model.bin"


def write(path: Path, graph: str, weights: bytes) -> None:
    """Join the two files at `path`."""
    joined_file.join(path, {GRAPH: graph.encode(), WEIGHTS: weights})


def unpack(path: Path, folder: Path) -> tuple[Path, ...]:
    """Put the two files into `folder`; BadInput for a file that does not hold just them, whole and as written."""
    return joined_file.unpack(path, (GRAPH, WEIGHTS), folder, format=NCNN_FORMAT)
