"""How much a single file holds: a protobuf message (ONNX) and a flatbuffer (TFLite) both end below 2 GiB."""

from __future__ import annotations

from edgepress.errors import UnsupportedModel
from edgepress.program import Program

LIMIT_BYTES = 2**31 - 2**20
"""Some room is left for the graph."""


def refuse_large(program: Program) -> None:
    """Raise UnsupportedModel for a network whose weights do not fit into one file."""
    size_bytes = sum(value.nbytes for value in program.exported.state_dict.values())
    if size_bytes > LIMIT_BYTES:
        raise UnsupportedModel(
            f"The weights take {size_bytes / 2**30:.1f} GiB; a single file holds at most 2 GiB.",
            hint="prune or quantize the network first",
        )
