"""Moves a selection to before the reshapes that set the selected part apart.

Attention often makes query, key and value by one layer, reshapes what it makes to (..., 3, heads, width) and
then takes the three apart. Taken literally, no channel of that layer could go without its two companions. Read
as three slices of the layer's channels, each reshaped by itself, they have nothing to do with one another.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch.fx import GraphModule, Node

from edgepress import graph
from edgepress.compress._channels.nodes import (
    REARRANGING,
    rearranged,
    resize,
    select_channels,
    shape_at_batch,
    succeed,
)
from edgepress.graph import aten

BATCH = 1009
"""A prime larger than what networks have of anything, so that the batch is told from every other size."""


@dataclass(frozen=True)
class _Part:
    """An axis of a view that is part of one axis of what is viewed: `count` entries, `stride` elements apart there."""

    count: int
    stride: int

    def axis_in(self, tensor: torch.Tensor) -> int | None:
        """The axis of a view of the same memory that this is all or part of."""
        for axis, (size, stride) in enumerate(zip(tensor.shape, tensor.stride(), strict=True)):
            if (
                self.stride % max(stride, 1) == 0
                and stride <= self.stride < self.stride * self.count <= stride * size
            ):
                return axis
        return None


def select_before_reshaping(graph_module: GraphModule, node: Node) -> None:
    """Let `node`, a slice or a selected entry of a part of an axis, select from the whole axis before it is split."""
    if graph.op_name(node) not in ("select", "slice"):
        return
    arguments = graph.arguments(node)
    axis = arguments["dim"] % arguments["self"].meta["val"].ndim
    views, tensors = _views_back_from(arguments["self"])
    if not views:
        return
    part = _Part(tensors[-1].shape[axis], tensors[-1].stride(axis))
    whole = part.axis_in(tensors[0])
    source = views[0].all_input_nodes[0]
    if whole is None or tensors[0].shape[whole] <= part.count or not _are_channels(source, whole):
        return
    chosen = np.arange(part.count)[_selection(node)]
    places = np.arange(tensors[0].shape[whole])
    places = places[np.isin(places // (part.stride // tensors[0].stride(whole)) % part.count, chosen)]
    made = _selected(graph_module, source, whole, places, before=node)
    for view, tensor in zip(views, tensors[1:], strict=True):
        made = _copy(view, made, before=node)
        spread = part.axis_in(tensor)
        assert spread is not None, "the views keep the parts of an axis apart"
        resize(made, spread, tensor.shape[spread] * len(chosen) // part.count)
        made.meta["val"] = _value(made)
    if graph.op_name(node) == "select":
        with graph_module.graph.inserting_before(node):
            made = graph_module.graph.call_function(aten.squeeze.dim, (made, axis))
    succeed(made, node)
    node.replace_all_uses_with(made)


def _are_channels(node: Node, axis: int) -> bool:
    """Whether a layer makes the entries of the axis, and what stands between keeps the shape."""
    shape = shape_at_batch(node, BATCH)
    while node.op == "call_function" and node.target not in graph.WEIGHTED:
        node = node.all_input_nodes[0]
        if not isinstance(node.meta["val"], torch.Tensor) or shape_at_batch(node, BATCH) != shape:
            return False
    if node.op != "call_function":
        return False
    return axis == (len(shape) - 1 if node.target is aten.linear.default else 1)


def _views_back_from(node: Node) -> tuple[list[Node], list[torch.Tensor]]:
    """The longest chain of views that ends in `node`, and empty tensors as they are before and after each."""
    chain: list[Node] = []
    while node.op == "call_function" and graph.op_name(node) in REARRANGING:
        chain.insert(0, node)
        node = node.all_input_nodes[0]
    for start in range(len(chain)):
        source = chain[start].all_input_nodes[0]
        tensors = [torch.empty(shape_at_batch(source, BATCH), device="meta")]
        for view in chain[start:]:
            tensors.append(rearranged(view, tensors[-1], BATCH))
        if all(tensor is tensors[0] or tensor._base is tensors[0] for tensor in tensors):
            return chain[start:], tensors
    return [], []


def _selection(node: Node) -> slice:
    arguments = graph.arguments(node)
    if graph.op_name(node) == "slice":
        return slice(arguments["start"], arguments["end"], arguments["step"])
    return slice(arguments["index"], arguments["index"] + 1 or None)


def _selected(
    graph_module: GraphModule, source: Node, axis: int, places: np.ndarray, *, before: Node
) -> Node:
    """A new node that takes these places of one axis of `source`."""
    if len(places) == places[-1] - places[0] + 1:
        with graph_module.graph.inserting_before(before):
            bounds = (int(places[0]), int(places[-1]) + 1)
            made = graph_module.graph.call_function(aten.slice.Tensor, (source, axis, *bounds))
    else:
        made = select_channels(graph_module, source, axis, torch.from_numpy(places), before=before)
    succeed(made, source)
    made.meta["val"] = source.meta["val"].narrow(axis, 0, len(places))
    return made


def _copy(node: Node, source: Node, *, before: Node) -> Node:
    """The node once more, reading `source` in place of its own input."""
    old = node.all_input_nodes[0]
    with node.graph.inserting_before(before):
        return node.graph.node_copy(node, lambda argument: source if argument is old else argument)


def _value(node: Node) -> torch.Tensor:
    """What the node makes of the symbolic values of its inputs."""
    made: torch.Tensor = graph.computed(node, lambda argument: argument.meta["val"])
    return made
