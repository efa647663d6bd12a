"""A `.openvino` file, OpenVINO's two files joined: model.xml (the graph) and model.bin (the weights); and the library
that reads and writes them, silenced."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

from edgepress import joined_file

OPENVINO_FORMAT = "openvino"
GRAPH, WEIGHTS = "model.xml", "model.bin"
TELEMETRY = "openvino_telemetry"


def openvino() -> ModuleType:
    """The library. Its import reports itself to its makers through another package, unless that cannot be imported."""
    if TELEMETRY not in sys.modules:
        sys.modules[TELEMETRY] = None  # type: ignore[assignment]  # Python's own way to say so, until the process ends
    return importlib.import_module("openvino")


def reason(error: Exception) -> str:
    """What OpenVINO says last, after the places in its own source."""
    lines = [line.strip("- .") for line in str(error).splitlines() if line.strip("- .")]
    return lines[-1] if lines else type(error).__name__


def write(path: Path, graph: bytes, weights: bytes) -> None:
    """Join the two files at `path`."""
    joined_file.join(path, {GRAPH: graph, WEIGHTS: weights})


def unpack(path: Path, folder: Path) -> tuple[Path, ...]:
    """Put the two files into `folder`; BadInput for a file that does not hold just them, whole and as written."""
    return joined_file.unpack(path, (GRAPH, WEIGHTS), folder, format=OPENVINO_FORMAT)
