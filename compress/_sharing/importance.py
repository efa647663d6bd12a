"""How much each weight matters to its layer's output: the mean square of the input that it is multiplied by."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch.fx import GraphModule

from edgepress import graph
from edgepress.compress._channels.mean import ChannelMean
from edgepress.compress._quantization.calibration import observe
from edgepress.compress._sparse.layers import Layer
from edgepress.data import Batch
from edgepress.graph import aten
from edgepress.signature import Signature

SMALLEST = 1e-6
"""Of the layer's mean: an input that is always zero on the samples may yet come."""


class _MeanSquare(ChannelMean):
    def update(self, values: torch.Tensor) -> None:
        super().update(values.double().square())


def importances(
    graph_module: GraphModule, layers: Iterable[Layer], batches: Iterable[Batch], signature: Signature
) -> dict[str, np.ndarray]:
    """By the weight's name, an array in its shape: the diagonal of its inputs' Gram matrix, taken by channel.

    Where inputs are uncorrelated, an error of the weights changes the output by the sum of its squares times this.
    """
    wanted = {layer.weight: layer for layer in layers}
    meters: dict[str, list[_MeanSquare]] = {}
    watchers: dict[torch.fx.Node, list[_MeanSquare]] = {}
    shapes: dict[str, torch.Size] = {}
    for node in graph.operators(graph_module):
        weight = graph.weight_node(node) if node.target in graph.WEIGHTED else None
        if weight is None or str(weight.target) not in wanted:
            continue
        meter = _MeanSquare(-1 if node.target is aten.linear.default else 1)
        meters.setdefault(str(weight.target), []).append(meter)
        watchers.setdefault(graph.arguments(node)["input"], []).append(meter)
        stored = graph.constant(graph_module, weight)
        assert stored is not None, "read_weights takes stored weights alone"
        shapes[str(weight.target)] = stored.shape
    observe(graph_module, watchers, batches, signature)
    return {
        name: _spread(wanted[name], sum(meter.value() for meter in found), shapes[name])  # type: ignore[arg-type]
        for name, found in meters.items()
    }


def _spread(layer: Layer, channels: torch.Tensor, shape: torch.Size) -> np.ndarray:
    """The mean squares of the input channels, one for each weight. A grouped layer's outputs see their group's alone."""
    rows = layer.rows(torch.zeros(shape, dtype=torch.float64))
    outputs, inputs, _ = rows.shape
    groups = len(channels) // inputs
    own = channels.view(groups, 1, inputs).expand(groups, outputs // groups, inputs).reshape(outputs, inputs)
    own = own.clamp(min=SMALLEST * float(own.mean()))
    spread = own.unsqueeze(2).expand(rows.shape).contiguous()
    return layer.from_rows(spread, shape).numpy()
