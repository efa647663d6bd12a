"""Takes channels out of a labelled graph for good: smaller weights, new constants, and no shuffle left.

Nothing that only moves channels (slice, cat, permutation) is kept as it was. What a layer reads is put
together anew from the tensors in which its channels were made, in whatever order costs least: makers
sort their channels by who reads them, so that each reader takes contiguous slices, and the reader's weights
follow that order. So a channel shuffle costs nothing, and unequal halves are no trouble.
"""

from __future__ import annotations

import numpy as np
import torch
from torch.fx import Node

from edgepress import graph
from edgepress.compress._channels.labels import Binding, Flow, Labelling
from edgepress.compress._channels.nodes import SIZE_LISTS, resize, set_argument, shape_at_batch_one
from edgepress.compress._channels.reading import ChannelReader

ORDER_SETTLED = (Flow.MAKES, Flow.KEEPS, Flow.FIXED, Flow.MOVES)
"""Which of several inputs a node takes its order from: what is put together anew can have any."""


def remove(labelling: Labelling, kept: np.ndarray) -> dict[tuple[str, int], np.ndarray]:
    """Rewrite the labelled graph in place so that of each class only those stay where `kept` (bool) is true.

    Returns, of each stored tensor (name, axis) that was cut, which old places are there now, in their new order.
    """
    rewriter = _Rewriter(labelling, kept)
    for node in list(labelling.graph_module.graph.nodes):
        rewriter.visit(node)
    labelling.graph_module.graph.eliminate_dead_code()
    labelling.graph_module.recompile()
    return rewriter.constant_orders


class _Rewriter:
    def __init__(self, labelling: Labelling, kept: np.ndarray) -> None:
        self.labelling, self.kept = labelling, kept
        self.reader = ChannelReader(labelling, kept)
        self.constant_orders: dict[tuple[str, int], np.ndarray] = {}
        self.bindings: dict[Node, list[Binding]] = {}
        for binding in labelling.bindings:
            self.bindings.setdefault(binding.node, []).append(binding)

    def visit(self, node: Node) -> None:
        flow = self.labelling.flows[node]
        if node.op == "call_function" and self.reader.is_labelled(node) and flow is not Flow.MOVES:
            self._resize(node)
        if flow is Flow.MAKES:
            self._make(node)
        elif flow is Flow.KEEPS:
            self._keep(node)
        elif flow is Flow.FIXED:
            self._fix(node)

    def _make(self, node: Node) -> None:
        source = graph.arguments(node)["input"]
        inputs = None
        if self.reader.is_labelled(source):
            wanted = self._settled_order(node, "input")
            if not any(binding.side == "input" for binding in self.bindings.get(node, ())):
                wanted = self.reader.ascending(
                    source
                )  # no weight follows these channels, so they must not move
            inputs = self.reader.read(source, node, wanted)
        made = self._settled_order(node, "output")
        if made is None:
            made = self.reader.grouped_by_reader(node)
        self._cut_constants(node, inputs, made)
        self.reader.orders[node] = made

    def _keep(self, node: Node) -> None:
        labelled = [source for source in node.all_input_nodes if self.reader.is_labelled(source)]
        followed = [source for source in labelled if self.reader.size(source) == self.reader.size(node)]
        for source in labelled:
            if source not in followed:
                self.reader.read(source, node, self.reader.ascending(source))
        order = self._settled_order(node, "output")
        if order is None and not followed and self.reader.is_labelled(node):
            order = self.reader.ascending(node)
        for source in sorted(followed, key=lambda source: ORDER_SETTLED.index(self.labelling.flows[source])):
            order = self.reader.read(source, node, order)
        if order is not None:
            self._cut_constants(node, None, order)
            self.reader.orders[node] = order

    def _fix(self, node: Node) -> None:
        if node.target is graph.aten.scaled_dot_product_attention.default:
            _write_scale(node)
        for source in node.all_input_nodes:
            if self.reader.is_labelled(source):
                self.reader.read(source, node, self.reader.ascending(source))
        self._cut_constants(node, None, None)
        if self.reader.is_labelled(node):
            self.reader.orders[node] = self.reader.ascending(node)

    def _settled_order(self, node: Node, side: str) -> np.ndarray | None:
        """The order that an earlier reader of the same stored tensor has settled."""
        for binding in self.bindings.get(node, ()):
            if binding.side == side and (binding.name, binding.axis) in self.constant_orders:
                return self.constant_orders[binding.name, binding.axis]
        return None

    def _cut_constants(self, node: Node, inputs: np.ndarray | None, outputs: np.ndarray | None) -> None:
        """Cut and reorder the stored tensors that follow the node's channels."""
        orders = {"input": inputs, "output": outputs, "own": None}
        for binding in self.bindings.get(node, ()):
            key = (binding.name, binding.axis)
            if key in self.constant_orders:
                continue
            order = orders[binding.side]
            if order is None:
                order = np.flatnonzero(self.kept[self.labelling.classes[binding.labels]])
            self.constant_orders[key] = order
            value = graph.constant(self.labelling.graph_module, binding.constant)
            assert value is not None
            cut = value.detach().index_select(binding.axis, torch.from_numpy(order)).clone()
            graph.set_constant(self.labelling.graph_module, binding.name, cut)

    def _resize(self, node: Node) -> None:
        """Bring the channel and group counts among the node's arguments up to date."""
        name, arguments, axis = graph.op_name(node), graph.arguments(node), self.labelling.channels[node].axis  # type: ignore[union-attr]  # only those with channels are cut
        stays = self.kept[self.labelling.classes_of(node)]
        if name in SIZE_LISTS:
            resize(node, axis, int(stays.sum()))
        elif arguments.get("groups", 1) > 1:
            set_argument(node, "groups", self._groups_left(node))
        elif name == "group_norm":
            set_argument(node, "num_groups", int(stays.sum()) * arguments["num_groups"] // len(stays))
        elif name in ("pad", "constant_pad_nd"):
            _resize_pad(node, axis, stays)

    def _groups_left(self, node: Node) -> int:
        """The channels left on the side that a group's weight spells out, by the width left of a group."""
        arguments = graph.arguments(node)
        wide = node if "transpose" in graph.op_name(node) else arguments["input"]
        width = shape_at_batch_one(arguments["weight"])[1]
        for binding in self.bindings.get(node, ()):
            if binding.constant is arguments["weight"] and binding.axis == 1:
                width = int(self.kept[self.labelling.classes[binding.labels]].sum())
        left = (
            len(self.reader.ascending(wide)) if self.reader.is_labelled(wide) else shape_at_batch_one(wide)[1]
        )
        return int(left // width)


def _resize_pad(node: Node, axis: int, stays: np.ndarray) -> None:
    widths = list(graph.arguments(node)["pad"])
    place = 2 * (len(shape_at_batch_one(node)) - 1 - axis)
    if place < len(widths) and (widths[place] or widths[place + 1]):
        before, after = widths[place : place + 2]
        widths[place : place + 2] = [int(stays[:before].sum()), int(stays[len(stays) - after :].sum())]
        set_argument(node, "pad", widths)


def _write_scale(attention: Node) -> None:
    """Spell out the softmax's scale, which PyTorch would derive from a width that may shrink."""
    arguments = graph.arguments(attention)
    if arguments["scale"] is None:
        attention.update_kwarg("scale", shape_at_batch_one(arguments["query"])[-1] ** -0.5)
