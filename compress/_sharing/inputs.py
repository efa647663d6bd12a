"""What each weight is multiplied by, on average: how much its error matters, and what that adds to the output."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch.fx import GraphModule, Node

from edgepress import graph
from edgepress.compress._channels.mean import ChannelMean
from edgepress.compress._quantization.calibration import observe
from edgepress.compress._sparse.layers import Layer
from edgepress.data import Batch
from edgepress.graph import aten
from edgepress.signature import Signature

SMALLEST = 1e-6
"""Of the layer's mean square: an input that is always zero on the samples may yet come."""


@dataclass(frozen=True)
class Inputs:
    """Of the input channel that each weight reads, in the weight's shape. Where inputs are uncorrelated, an error of the
    weights changes the outputs by the sum of its squares times `mean_square`: the diagonal of the inputs' Gram matrix."""

    mean: np.ndarray
    mean_square: np.ndarray


class _MeanSquare(ChannelMean):
    def update(self, values: torch.Tensor) -> None:
        super().update(values.double().square())


def read_inputs(
    graph_module: GraphModule,
    layers: Mapping[Layer, torch.Tensor],
    batches: Iterable[Batch],
    signature: Signature,
) -> dict[str, Inputs]:
    """By the weight's name. Of a weight that several operators read, what they read is averaged."""
    names = {layer.weight for layer in layers}
    meters: dict[str, list[tuple[ChannelMean, ChannelMean]]] = {}
    watchers: dict[Node, list[ChannelMean]] = {}
    for node in graph.operators(graph_module):
        weight = graph.weight_node(node) if node.target in graph.WEIGHTED else None
        if weight is not None and str(weight.target) in names:
            axis = -1 if node.target is aten.linear.default else 1
            pair = ChannelMean(axis), _MeanSquare(axis)
            meters.setdefault(str(weight.target), []).append(pair)
            watchers.setdefault(graph.arguments(node)["input"], []).extend(pair)
    observe(graph_module, watchers, batches, signature)
    return {
        layer.weight: _inputs(layer, weight.shape, meters[layer.weight]) for layer, weight in layers.items()
    }


def correct_biases(graph_module: GraphModule, lost: Mapping[str, torch.Tensor]) -> None:
    """Take off each layer's bias what its outputs gain on average, `lost` by the weight's name (Nagel et al., 2019,
    Data-Free Quantization). A layer without a bias of its own stays as it is."""
    for node in list(graph.operators(graph_module)):
        weight = graph.weight_node(node) if node.target in graph.WEIGHTED else None
        if weight is None or str(weight.target) not in lost:
            continue
        place = graph.arguments(node)["bias"]
        bias = graph.constant(graph_module, place)
        if bias is not None and graph.readers(graph_module, place) == 1:
            corrected = bias.detach().double() - lost[str(weight.target)]
            graph.set_constant(graph_module, str(place.target), corrected.to(bias.dtype))


def _inputs(layer: Layer, shape: torch.Size, meters: list[tuple[ChannelMean, ChannelMean]]) -> Inputs:
    mean, square = (
        torch.stack([meter.value() for meter in kind]).mean(0) for kind in zip(*meters, strict=True)
    )
    square = square.clamp(min=SMALLEST * float(square.mean()) or 1.0)
    return Inputs(_spread(layer, mean, shape), _spread(layer, square, shape))


def _spread(layer: Layer, channels: torch.Tensor, shape: torch.Size) -> np.ndarray:
    """A value of the input channels for each weight. A grouped layer's outputs see their group's channels alone."""
    rows = layer.rows(torch.zeros(shape, dtype=torch.float64))
    outputs, inputs, _ = rows.shape
    groups = len(channels) // inputs
    own = channels.view(groups, 1, inputs).expand(groups, outputs // groups, inputs).reshape(outputs, inputs)
    return layer.from_rows(own.unsqueeze(2).expand(rows.shape).contiguous(), shape).numpy()
