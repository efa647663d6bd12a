"""A layer as linear regression: what it reads and what it gives at sampled positions, as rows of a matrix."""

from __future__ import annotations

from typing import Any

import torch
from torch.fx import Node

from edgepress import graph
from edgepress.compress._reconstruction.least_squares import LeastSquares

ROWS_AN_INPUT = 32
FEWEST_ROWS = 4096
"""How many positions a layer's weights are fitted on: so many for each input of an output."""

CHUNK_BYTES = 64 << 20
"""Of a layer's input rows that are put together at once."""


def add_rows(
    system: LeastSquares,
    layer: Node,
    kernel: torch.Size,
    read: torch.Tensor,
    target: torch.Tensor,
    places: torch.Tensor,
) -> None:
    """Give `system` what the layer reads and what it should give at `places` of its outputs."""
    for chunk in places.split(max(1, CHUNK_BYTES // (8 * system.groups * system.inputs))):
        system.add(input_rows(layer, read, kernel, chunk), output_rows(layer, target, system.groups, chunk))


def rows_wanted(system: LeastSquares) -> int:
    """How many positions to fit on."""
    return max(FEWEST_ROWS, ROWS_AN_INPUT * system.inputs)


def sampled_places(
    layer: Node, outputs: torch.Tensor, count: int, generator: torch.Generator
) -> torch.Tensor:
    """`count` different positions of the layer's `outputs` (all, where there are fewer), as indices into the
    flattened positions of all samples."""
    size = outputs.numel() // outputs.shape[_channel_axis(layer)]
    return torch.randperm(size, generator=generator)[:count]


def input_rows(layer: Node, inputs: torch.Tensor, kernel: torch.Size, places: torch.Tensor) -> torch.Tensor:
    """What the layer reads for the outputs at `places`: groups x places x inputs of a group.

    `kernel` is the weight's shape behind its two channel axes, empty for a linear layer.
    """
    if layer.target is graph.aten.linear.default:
        return inputs.reshape(-1, inputs.shape[-1])[places][None]
    arguments = graph.arguments(layer)
    windows = _windows(arguments, inputs, kernel).movedim(1, 1 + len(kernel))
    rows = windows[torch.unravel_index(places, windows.shape[: 1 + len(kernel)])]
    return rows.reshape(len(places), arguments["groups"], -1).movedim(1, 0)


def output_rows(layer: Node, outputs: torch.Tensor, groups: int, places: torch.Tensor) -> torch.Tensor:
    """The layer's outputs at `places`: groups x places x outputs of a group."""
    channels_last = outputs.movedim(_channel_axis(layer), -1)
    rows = channels_last.reshape(-1, channels_last.shape[-1])[places]
    return rows.reshape(len(places), groups, -1).movedim(1, 0)


def _channel_axis(layer: Node) -> int:
    return -1 if layer.target is graph.aten.linear.default else 1


def _windows(arguments: dict[str, Any], inputs: torch.Tensor, kernel: torch.Size) -> torch.Tensor:
    """A view of the padded inputs: samples x channels x positions ... x kernel ..."""
    stride, dilation = (_each(arguments[name], len(kernel)) for name in ("stride", "dilation"))
    windows = torch.nn.functional.pad(inputs, _padding(arguments["padding"], kernel, dilation))
    for axis, size in enumerate(kernel):
        reach = (size - 1) * dilation[axis] + 1
        windows = windows.unfold(2 + axis, reach, stride[axis])[..., :: dilation[axis]]
    return windows


def _each(value: Any, dimensions: int) -> list[int]:
    sizes = [value] if isinstance(value, int) else list(value)
    return sizes * dimensions if len(sizes) == 1 else sizes


def _padding(padding: Any, kernel: torch.Size, dilation: list[int]) -> list[int]:
    """Zeros before and after each axis, the last axis first, as torch.nn.functional.pad takes them."""
    if padding == "same":
        totals = [dilation[axis] * (size - 1) for axis, size in enumerate(kernel)]
        return [part for total in reversed(totals) for part in (total // 2, total - total // 2)]
    sizes = [0] * len(kernel) if padding == "valid" else _each(padding, len(kernel))
    return [size for size in reversed(sizes) for _ in (0, 1)]
