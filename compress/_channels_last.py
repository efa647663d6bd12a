"""Lays pictures out with channels innermost, where convolutions and pools take half the time; operators hand that on."""

from __future__ import annotations

import numpy as np
import torch
from torch.fx import GraphModule

from edgepress import graph
from edgepress.graph import aten


def laid_out(graph_module: GraphModule, arrays: tuple[np.ndarray, ...]) -> list[torch.Tensor]:
    """The inputs as tensors, those of four axes (N, C, H, W) with channels innermost.

    To be run with graph.computed. A graph that looks at how memory lies gets its inputs as they were captured.
    """
    looks = any(node.target is aten.as_strided.default for node in graph.operators(graph_module))
    tensors = [torch.from_numpy(np.ascontiguousarray(array)) for array in arrays]
    if looks:
        return tensors
    return [one.contiguous(memory_format=torch.channels_last) if one.dim() == 4 else one for one in tensors]


def as_it_lies(values: torch.Tensor) -> torch.Tensor:
    """The same elements in the order of memory, where that is one of the two: for what asks of elements alone."""
    is_last = values.dim() == 4 and values.is_contiguous(memory_format=torch.channels_last)
    return values.movedim(1, -1) if is_last else values
