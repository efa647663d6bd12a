"""Which tensors a captured network keeps in memory while it runs, how large they are, and for how long."""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch.fx import GraphModule, Node

from edgepress import graph, macs
from edgepress.graph import aten

FUSED_ACTIVATIONS = frozenset({"relu", "relu_", "relu6", "hardtanh", "hardtanh_", "clamp", "clamp_"})
BEFORE_ACTIVATION = (*graph.WEIGHTED, aten.batch_norm.default, aten.add.Tensor, aten.add_.Tensor)
QUANTIZES = (graph.QUANTIZE, graph.QUANTIZE_DYNAMIC)


class Memory:
    """The tensors of one graph.

    A batch-norm directly behind a convolution or linear layer, and a clamping activation behind such a
    layer or an addition, run inside of it, as they do in every runtime; a view shares the memory of what
    it views; a tensor between quantize and dequantize is the 8-bit tensor it stands for.
    """

    def __init__(self, graph_module: GraphModule) -> None:
        self.nodes = tuple(graph_module.graph.nodes)
        self._constants: set[Node] = set()
        for node in self.nodes:
            sources = [source for source in node.all_input_nodes if macs.shapes(source)]
            if node.op == "get_attr" or (node.op == "call_function" and self._constants.issuperset(sources)):
                self._constants.add(node)

    def is_constant(self, node: Node) -> bool:
        """Whether the node's value is the same for every input: a weight, or made of weights alone."""
        return node in self._constants

    def inputs(self, node: Node) -> list[Node]:
        """The tensors that the node reads and that depend on the network's input."""
        return [
            source for source in node.all_input_nodes if macs.shapes(source) and not self.is_constant(source)
        ]

    def is_fused(self, node: Node) -> bool:
        """Whether the node runs inside of the layer before it."""
        inputs = self.inputs(node)
        if len(inputs) != 1 or len(inputs[0].users) != 1:
            return False
        before = inputs[0].target
        if node.target is aten.batch_norm.default:
            return before in graph.WEIGHTED
        return graph.op_name(node) in FUSED_ACTIVATIONS and before in BEFORE_ACTIVATION

    def moved(self, node: Node) -> list[Node]:
        """The tensors that running the node reads and writes; none where it runs inside of another or is a view."""
        if self._shares_buffer(node):
            return []
        return [*self.inputs(node), self._last_fused(node)]

    def size_bytes(self, node: Node) -> int:
        """The bytes of the node's tensors at batch 1, where they are kept."""
        return macs.elements(node) * _element_bytes(node)

    def peak_bytes(self) -> int:
        """The most that is kept at a time when every tensor is freed after its last use."""
        buffer: dict[Node, Node] = {}
        dies: dict[Node, int] = {}
        for time, node in enumerate(self.nodes):
            dies.update({buffer[source]: time for source in node.all_input_nodes if source in buffer})
            if macs.shapes(node) and not self.is_constant(node):
                buffer[node] = buffer[self.inputs(node)[0]] if self._shares_buffer(node) else node
                dies[buffer[node]] = time
        change = [0] * (len(self.nodes) + 1)
        for time, node in enumerate(self.nodes):
            if node in buffer and buffer[node] is node:
                size = self.size_bytes(self._last_fused(node))
                change[time] += size
                change[dies[node] + 1] -= size
        return max(itertools.accumulate(change))

    def _shares_buffer(self, node: Node) -> bool:
        return node.op == "call_function" and (self.is_fused(node) or graph.op_name(node) in macs.SAME_MEMORY)

    def _last_fused(self, node: Node) -> Node:
        """The last of the nodes that run inside of the layer `node`: what it writes is what that one returns."""
        users = list(node.users)
        return self._last_fused(users[0]) if len(users) == 1 and self.is_fused(users[0]) else node


def _element_bytes(node: Node) -> int:
    """The size of one element where the tensor is kept: 1 when it is quantized there."""
    if node.users and all(user.target in QUANTIZES for user in node.users):
        return _element_bytes(next(iter(node.users)))
    if node.target in (graph.DEQUANTIZE, graph.DEQUANTIZE_DYNAMIC):
        return _element_bytes(node.all_input_nodes[0])
    value: Any = node.meta["val"]
    tensor: torch.Tensor = value[0] if isinstance(value, tuple | list) else value
    return tensor.element_size()
