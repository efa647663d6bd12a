"""How many bytes a network's stored tensors take behind a general compressor: what zeros save in a download."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from weakref import WeakKeyDictionary

import torch
from torch.export import ExportedProgram

from edgepress.program import Program

LEVEL = 6
"""zlib's own default: what zip files and Android packages are made with."""

_known: WeakKeyDictionary[ExportedProgram, int] = WeakKeyDictionary()
"""A network is asked about as it leaves one stage and as it enters the next, and this takes seconds."""


def deflated_bytes(program: Program) -> int:
    """The size of all parameters and buffers that the network reads, each once, compressed with deflate (zlib, level 6).

    Runtimes do not read this; it says what a zip file, an app package or a transfer over HTTP comes to.
    """
    exported = program.exported
    if exported not in _known:
        tensors = {tensor.data_ptr(): tensor for tensor in _read(exported)}
        _known[exported] = sum(_deflated(tensor) for tensor in tensors.values())
    return _known[exported]


def _read(exported: ExportedProgram) -> Iterator[torch.Tensor]:
    """The stored tensors that some operator reads."""
    read = {node.name for node in exported.graph.nodes if node.users}
    stored = {**exported.constants, **exported.state_dict}
    for spec in exported.graph_signature.input_specs:
        tensor = stored.get(spec.target or "")
        if spec.arg.name in read and isinstance(tensor, torch.Tensor):
            yield tensor


def _deflated(tensor: torch.Tensor) -> int:
    content = tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    return len(zlib.compress(content, LEVEL))
