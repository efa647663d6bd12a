"""Runs a graph over all calibration batches in step, node by node, so that what follows can still be changed."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch.fx import GraphModule, Node

from edgepress import graph
from edgepress.compress._channels.nodes import shape_at_batch_one
from edgepress.compress._channels_last import laid_out
from edgepress.data import Batch
from edgepress.graph import aten

RANKING = (
    aten.sort.default,
    aten.sort.stable,
    aten.topk.default,
    aten.argmax.default,
    aten.argmin.default,
)
"""Operators that put values in order: a small change of these swaps places, and whole rows of all that follows."""


class Walk:
    """One way through a graph with all batches side by side.

    Weights are read when a layer is executed, so a layer that has not been passed yet may get other ones. A value
    is dropped after its last reader, unless it is in `pinned`: then when `release` says so.

    `leader` walks another form of the same network over the same batches. Where values are put in order, as a detector
    does with the regions it proposes, its order is taken: a row of the one then says something of the same thing as
    that row of the other.
    """

    def __init__(
        self,
        graph_module: GraphModule,
        batches: Sequence[Batch],
        pinned: Iterable[Node] = (),
        leader: Walk | None = None,
    ) -> None:
        self._pinned = set(pinned)
        self._ranking = [node for node in graph_module.graph.nodes if node.target in RANKING]
        last_read = _last_read(list(graph_module.graph.nodes))
        self.lanes = tuple(Lane(graph_module, batch, last_read, self._pinned) for batch in batches)
        if leader is not None:
            self._follow(leader)

    def has(self, node: Node) -> bool:
        """Whether the value of `node` is there to be read."""
        return all(lane.has(node) for lane in self.lanes)

    def before(self, node: Node) -> None:
        """Execute everything in front of `node`."""
        for lane in self.lanes:
            lane.before(node)

    def through(self, node: Node) -> None:
        """Execute everything up to `node`, and `node` itself."""
        for lane in self.lanes:
            lane.through(node)

    def values(self, node: Node) -> list[torch.Tensor]:
        """What the node computed, batch by batch."""
        return [lane.value(node) for lane in self.lanes]

    def release(self, node: Node) -> None:
        """Drop a pinned value, now or after its last reader."""
        self._pinned.discard(node)
        for lane in self.lanes:
            lane.drop_read(node)

    def back_to(self, node: Node) -> None:
        """Execute anew what comes behind `node`: pinned until then, and the only value that is read there."""
        self._pinned.discard(node)
        for lane in self.lanes:
            lane.back_to(node)

    def _follow(self, leader: Walk) -> None:
        """Nothing is followed where the two put different things in order. They put as many in order, for what an operator
        without channel labels reads is never pruned."""
        if [node.target for node in self._ranking] != [node.target for node in leader._ranking]:
            return
        leader._pinned.update(leader._ranking)
        for lane, first in zip(self.lanes, leader.lanes, strict=True):
            lane.follow(first, dict(zip(self._ranking, leader._ranking, strict=True)))


class Lane:
    """One batch on its way: it may be anywhere, whatever the other lanes of its walk do."""

    def __init__(
        self, graph_module: GraphModule, batch: Batch, last_read: Mapping[Node, int], pinned: set[Node]
    ) -> None:
        self._graph_module = graph_module
        self._nodes = list(graph_module.graph.nodes)
        self._pinned = pinned
        self._last_read = last_read
        self._next = 0
        self._values: dict[Node, Any] = {}
        self._inputs = laid_out(graph_module, batch.inputs)
        self._leader = self
        self._led: Mapping[Node, Node] = {}

    def follow(self, leader: Lane, led: Mapping[Node, Node]) -> None:
        """Take the order of values from `leader`, at the nodes of `led` from its nodes there."""
        self._leader, self._led = leader, led

    def has(self, node: Node) -> bool:
        return node in self._values

    def before(self, node: Node) -> None:
        """Execute everything in front of `node`."""
        while self._nodes[self._next] is not node:
            self._step()

    def through(self, node: Node) -> None:
        """Execute everything up to `node`, and `node` itself."""
        while node not in self._values:
            self._step()

    def value(self, node: Node) -> torch.Tensor:
        """What the node computed."""
        value: torch.Tensor = self._values[node]
        return value

    def held(self) -> Mapping[Node, Any]:
        """All that was computed and will be read."""
        return self._values

    def back_to(self, node: Node) -> None:
        """Execute anew what comes behind `node`, from its value and the sizes that are known."""
        self._next = self._nodes.index(node) + 1
        self._values = {
            other: value for other, value in self._values.items() if other is node or is_number(other)
        }

    def drop_read(self, node: Node) -> None:
        """Drop a value that nothing reads any more."""
        if self._last_read.get(node, -1) < self._next:
            self._values.pop(node, None)

    def _step(self) -> None:
        node = self._nodes[self._next]
        self._next += 1
        if node.op == "placeholder":
            self._values[node] = self._inputs.pop(0)
        elif node.op == "call_function":
            with torch.no_grad():
                self._values[node] = self._ordered(node) if node in self._led else self._computed(node)
        for source in node.all_input_nodes:
            is_kept = source in self._pinned or is_number(source)
            if self._last_read[source] == self._next - 1 and not is_kept:
                self._values.pop(source, None)

    def _ordered(self, node: Node) -> Any:
        """Our own values in the leader's order, and their places."""
        self._leader.through(self._led[node])
        found = self._leader.held()[self._led[node]]
        if isinstance(found, torch.Tensor):
            return found
        _, places = found
        values = self._read(node.all_input_nodes[0])
        return torch.take_along_dim(values, places, graph.arguments(node)["dim"]), places

    def _computed(self, node: Node) -> Any:
        """What the node makes; a pair of quantize and dequantize is one step, and what is between them float."""
        arguments: Any = node.args
        if node.target is graph.DEQUANTIZE and arguments[0].target is graph.QUANTIZE:
            return self._read(arguments[0])
        if node.target is graph.QUANTIZE and all(user.target is graph.DEQUANTIZE for user in node.users):
            values, scale, zero_point, low, high, _ = arguments
            # A third of the time that PyTorch's fake quantization takes.
            rounded = (self._read(values) / scale).round_()
            return rounded.clamp_(low - zero_point, high - zero_point).mul_(scale)
        return graph.computed(node, self._read)

    def _read(self, source: Node) -> Any:
        stored = graph.constant(self._graph_module, source)
        return self._values[source] if stored is None else stored


def is_number(node: Node) -> bool:
    """Whether it is a size, or computed from sizes alone."""
    return isinstance(node.meta.get("val"), (int, float, torch.SymInt, torch.SymFloat))


def fitting(batches: Iterable[Batch], elements: int, most_bytes: int) -> list[Batch]:
    """The first batches, one at least, whose samples take at most `most_bytes` together, with so many float32 `elements`
    each. Nothing is read behind the first that does not fit: a small one there would not be of the first samples."""
    taken: list[Batch] = []
    samples = 0
    for batch in batches:
        samples += len(batch)
        if taken and 4 * samples * elements > most_bytes:
            break
        taken.append(batch)
    return taken


def live_elements(graph_module: GraphModule) -> int:
    """The most elements that are alive at once on a way through the graph, for one sample."""
    return max((alive for _, _, alive in _alive(graph_module)), default=0)


def held_elements(graph_module: GraphModule, stops: Collection[Node]) -> int:
    """The most elements that a lane holds for one sample while it waits before one of `stops`."""
    return max((held for node, held, _ in _alive(graph_module) if node in stops), default=0)


def _alive(graph_module: GraphModule) -> Iterator[tuple[Node, int, int]]:
    """Each node, and how many elements there are before it is executed, and just after."""
    nodes = list(graph_module.graph.nodes)
    last_read = _last_read(nodes)
    alive: dict[Node, int] = {}
    for place, node in enumerate(nodes):
        held = sum(alive.values())
        if node.op != "get_attr" and isinstance(node.meta.get("val"), torch.Tensor):
            alive[node] = torch.Size(shape_at_batch_one(node)).numel()
        yield node, held, sum(alive.values())
        for source in node.all_input_nodes:
            if last_read[source] == place:
                alive.pop(source, None)


def _last_read(nodes: Sequence[Node]) -> dict[Node, int]:
    return {source: place for place, node in enumerate(nodes) for source in node.all_input_nodes}
