"""Runs a graph over all calibration batches in step, node by node, so that what follows can still be changed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch.fx import GraphModule, Node

from edgepress import graph
from edgepress.compress._channels.nodes import shape_at_batch_one
from edgepress.data import Batch


class Walk:
    """One way through a graph with all batches side by side.

    Weights are read when a layer is executed, so a layer that has not been passed yet may get other ones. A value
    is dropped after its last reader, unless it is in `pinned`: then when `release` says so.
    """

    def __init__(
        self, graph_module: GraphModule, batches: Sequence[Batch], pinned: Iterable[Node] = ()
    ) -> None:
        self._graph_module = graph_module
        self._nodes = list(graph_module.graph.nodes)
        self._pinned = set(pinned)
        self._last_read = _last_read(self._nodes)
        self._next = 0
        self._values: dict[Node, list[Any]] = {}
        self._inputs = [[torch.from_numpy(array) for array in batch.inputs] for batch in batches]

    def has(self, node: Node) -> bool:
        """Whether the value of `node` is there to be read."""
        return node in self._values

    def before(self, node: Node) -> None:
        """Execute everything in front of `node`."""
        while self._nodes[self._next] is not node:
            self._step()

    def through(self, node: Node) -> None:
        """Execute everything up to `node`, and `node` itself."""
        while node not in self._values:
            self._step()

    def values(self, node: Node) -> list[torch.Tensor]:
        """What the node computed, batch by batch."""
        return self._values[node]

    def release(self, node: Node) -> None:
        """Drop a pinned value, now or after its last reader."""
        self._pinned.discard(node)
        if self._last_read.get(node, -1) < self._next:
            self._values.pop(node, None)

    def _step(self) -> None:
        node = self._nodes[self._next]
        self._next += 1
        if node.op == "placeholder":
            place = sum(other.op == "placeholder" for other in self._nodes[: self._next - 1])
            self._values[node] = [inputs[place] for inputs in self._inputs]
        elif node.op == "call_function":
            with torch.no_grad():
                self._values[node] = [self._computed(node, number) for number in range(len(self._inputs))]
        for source in node.all_input_nodes:
            if self._last_read[source] == self._next - 1 and source not in self._pinned:
                self._values.pop(source, None)

    def _computed(self, node: Node, batch: int) -> Any:
        def value(source: Node) -> Any:
            stored = graph.constant(self._graph_module, source)
            return self._values[source][batch] if stored is None else stored

        return graph.computed(node, value)


def live_elements(graph_module: GraphModule) -> int:
    """The most elements that are alive at once on a way through the graph, for one sample."""
    nodes = list(graph_module.graph.nodes)
    last_read = _last_read(nodes)
    alive: dict[Node, int] = {}
    most = 0
    for place, node in enumerate(nodes):
        if node.op != "get_attr" and isinstance(node.meta.get("val"), torch.Tensor):
            alive[node] = torch.Size(shape_at_batch_one(node)).numel()
        most = max(most, sum(alive.values()))
        for source in node.all_input_nodes:
            if last_read[source] == place:
                alive.pop(source, None)
    return most


def _last_read(nodes: Sequence[Node]) -> dict[Node, int]:
    return {source: place for place, node in enumerate(nodes) for source in node.all_input_nodes}
