"""Chooses the range of a tensor by what the layers that read it make of it, among what the calibrators propose."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch.fx import GraphModule, Node

from edgepress import graph
from edgepress.compress._quantization.plan import Plan, SharedScale
from edgepress.compress._quantization.ranges import Range
from edgepress.compress._reconstruction.walk import Walk
from edgepress.data import Batch

SAMPLES = 32
"""On so many samples every proposal is tried: each costs as much as running the layers once."""


def least_output_error(
    graph_module: GraphModule,
    plan: Plan,
    proposals: Mapping[SharedScale, Sequence[Range]],
    batches: Iterable[Batch],
) -> dict[SharedScale, Range]:
    """For each shared scale that a layer reads, the proposal with the least squared error of the layers' outputs,
    relative to their squares and summed over the readers. The graph is the float one."""
    readers = _readers(plan, proposals)
    errors: dict[SharedScale, list[float]] = {
        scale: [0.0] * len(proposals[scale]) for scale in readers.values()
    }
    samples = 0
    for batch in batches:
        (lane,) = Walk(graph_module, [batch]).lanes
        for layer, scale in readers.items():
            lane.before(layer)
            values = lane.value(layer.all_input_nodes[0])
            square = _square(graph_module, layer, values)
            for number, proposed in enumerate(proposals[scale]):
                off = rounded(values, proposed) - values
                errors[scale][number] += _square(graph_module, layer, off) / max(square, 1e-30)
        samples += len(batch)
        if samples >= SAMPLES:
            break
    return {
        scale: proposals[scale][min(range(len(found)), key=found.__getitem__)]
        for scale, found in errors.items()
    }


def rounded(values: torch.Tensor, range: Range) -> torch.Tensor:
    """The float values that the range's integers leave of `values`."""
    integers = ((values / range.scale).round() + range.zero_point).clamp(range.lowest, range.highest)
    return (integers - range.zero_point) * range.scale


def _readers(plan: Plan, proposals: Mapping[SharedScale, Sequence[Range]]) -> dict[Node, SharedScale]:
    """The layers in the order of execution, each with the scale of what it reads, where that is to be chosen."""
    scales = {tensor: scale for scale in proposals for tensor in scale.tensors}
    found: dict[Node, SharedScale] = {}
    for layer in plan.layers:
        source = layer.all_input_nodes[0]
        if source in scales:
            found[layer] = scales[source]
    return found


def _square(graph_module: GraphModule, layer: Node, values: torch.Tensor) -> float:
    """The summed squares of what the layer makes of `values`, without its bias."""
    weight = graph.constant(graph_module, graph.weight_node(layer))
    places = {layer.args[0]: values, layer.args[1]: weight}
    bias = graph.arguments(layer)["bias"]
    with torch.no_grad():
        made = graph.computed(layer, lambda node: None if node is bias else places[node])
    return float(made.square().sum(dtype=torch.float64))
