"""Finds the layers that are rounded together: those between two points through which all data flows.

A residual block is such a region, and so are layers side by side whose results are put together; a chain has such points
all along. What stands in front of a region says all that the network still knows of its input, so that the region can be
run from there again and again.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch.fx import GraphModule, Node

from edgepress import graph
from edgepress.compress._quantization.layer import Layer
from edgepress.compress._reconstruction.walk import RANKING, is_number

COMPUTED = ("placeholder", "call_function")
PAIR = (graph.QUANTIZE, graph.DEQUANTIZE)

MOST_LAYERS = 3
"""How many layers neighbouring regions of one module make together: a Fire module, or a bottleneck without a shortcut.
Of more, roundings are learned that suit the samples alone."""


@dataclass(frozen=True, eq=False)
class Block:
    """`layers` read what comes through `entry` alone, and others read of them what leaves through the last of `nodes`, all
    that is computed in between."""

    entry: Node
    nodes: tuple[Node, ...]
    layers: tuple[Layer, ...]

    @property
    def exit(self) -> Node:
        return self.nodes[-1]


def find_blocks(graph_module: GraphModule, layers: Sequence[Layer]) -> list[Block]:
    """The blocks of a graph with its pairs inserted, in the order of execution; `layers` are those that may be rounded
    together, in the same order. No block has another layer in it, or a single one, which has been rounded for what it
    gives; none puts values in order; and none ends in a pair: the float network has its exit."""
    nodes = list(graph_module.graph.nodes)
    place = {node: number for number, node in enumerate(nodes)}
    points = [place[node] for node in _points(nodes) if _has_samples(node)]
    asked = {layer.node: layer for layer in layers}
    regions = _joined(_regions(nodes, set(points)))
    found = []
    for number, region in enumerate(regions):
        first, last = place[region[0]], place[region[-1]]
        end = place[regions[number + 1][0]] if number + 1 < len(regions) else len(nodes)
        entries = [point for point in points if point < first]
        exits = [point for point in points if last <= point < end and _is_float(nodes[point])]
        if len(region) < 2 or not entries or not exits or not all(node in asked for node in region):
            continue
        inside = tuple(nodes[entries[-1] + 1 : exits[-1] + 1])
        if not any(node.target in RANKING for node in inside):
            found.append(Block(nodes[entries[-1]], inside, tuple(asked[node] for node in region)))
    return found


def _points(nodes: Sequence[Node]) -> Iterator[Node]:
    """The nodes behind which no other value is still to be read."""
    last_read = {source: number for number, node in enumerate(nodes) for source in node.all_input_nodes}
    alive: set[Node] = set()
    for number, node in enumerate(nodes):
        alive = {other for other in alive if last_read.get(other, -1) > number}
        if node.op in COMPUTED and not is_number(node):
            alive.add(node)
            if alive == {node}:
                yield node


def _regions(nodes: Sequence[Node], points: set[int]) -> list[list[Node]]:
    """The layers with weights between one point and the next."""
    found: list[list[Node]] = []
    is_closed = True
    for number, node in enumerate(nodes):
        if node.target in graph.WEIGHTED:
            if is_closed:
                found.append([])
            found[-1].append(node)
            is_closed = False
        is_closed = is_closed or number in points
    return found


def _joined(regions: Sequence[list[Node]]) -> list[list[Node]]:
    """Neighbours of one module as one, up to MOST_LAYERS."""
    found: list[list[Node]] = []
    for region in regions:
        is_near = found and _module(found[-1]) == _module(region) != ""
        if is_near and len(found[-1]) + len(region) <= MOST_LAYERS:
            found[-1] = [*found[-1], *region]
        else:
            found.append(region)
    return found


def _module(region: Sequence[Node]) -> str:
    """The innermost of the user's modules that all of these layers are in; "" for the network itself."""
    owners = [graph.layer_name(node).split(".")[:-1] for node in region]
    return ".".join(os.path.commonprefix(owners))


def _has_samples(node: Node) -> bool:
    """Whether the first axis counts the samples. A pair has the shape of what it reads."""
    while node.target in PAIR:
        node = node.all_input_nodes[0]
    value = node.meta.get("val")
    if not isinstance(value, torch.Tensor) or not value.dim():
        return False
    return all(graph.at_batch(value.shape[0], batch) == batch for batch in (2, 3))


def _is_float(node: Node) -> bool:
    """Whether it is a tensor of numbers that can be learned for, and not one of a pair."""
    value = node.meta.get("val")
    return node.target not in PAIR and isinstance(value, torch.Tensor) and value.is_floating_point()
