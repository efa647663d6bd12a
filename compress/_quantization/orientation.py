"""Weights with their output channels in front, as all that rounds them wants, whichever axis a layer keeps them on."""

from __future__ import annotations

import math

import torch
from torch.fx import Node

from edgepress import graph
from edgepress.compress._fold_batch_norm import OUTPUT_AXIS


def output_axis(layer: Node) -> int:
    """The weight's axis of output channels: 1 in a transposed convolution."""
    return OUTPUT_AXIS.get(layer.target, 0)


def outputs_first(layer: Node, weight: torch.Tensor) -> torch.Tensor:
    """`weight` with its output channels in front; of one that has them there, and from there, as the layer has it."""
    return weight.transpose(0, output_axis(layer))


def reads_of_tap(layer: Node) -> float:
    """How often an output position reads each place of the kernel, on average: once, but in a transposed convolution
    only where its stride puts an input."""
    return 1.0 if output_axis(layer) == 0 else 1 / math.prod(graph.arguments(layer)["stride"])
