"""How many bytes a network's stored tensors take behind a general compressor: what zeros save in a download."""

from __future__ import annotations

import zlib

import torch

from edgepress.program import Program

LEVEL = 6
"""zlib's own default: what zip files and Android packages are made with."""


def deflated_bytes(program: Program) -> int:
    """The size of all parameters and buffers that the network reads, each once, compressed with deflate (zlib, level 6).

    Runtimes do not read this; it says what a zip file, an app package or a transfer over HTTP comes to.
    """
    exported = program.exported
    read = {node.name for node in exported.graph.nodes if node.users}
    stored = {**exported.constants, **exported.state_dict}
    found = [
        stored.get(spec.target or "")
        for spec in exported.graph_signature.input_specs
        if spec.arg.name in read
    ]
    tensors = {tensor.data_ptr(): tensor for tensor in found if isinstance(tensor, torch.Tensor)}
    return sum(_deflated(tensor) for tensor in tensors.values())


def _deflated(tensor: torch.Tensor) -> int:
    content = tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    return len(zlib.compress(content, LEVEL))
