"""Grouped convolutions taken apart: each group a convolution of its own, that may lose channels of its own.

All groups of a convolution have as many channels as each other, which ties what they read and make: behind a channel shuffle
whose groups do not divide one another evenly, as in ShuffleNet v1, nothing is left to remove. Taken apart they are slices,
convolutions and a cat, and every channel is free.
"""

from __future__ import annotations

import torch
from torch.fx import GraphModule, Node

from edgepress import graph
from edgepress.compress._channels.labels import Parts
from edgepress.compress._channels.nodes import shape_at_batch_one, succeed
from edgepress.graph import aten
from edgepress.program import Program

SPLITTABLE = (aten.conv1d.default, aten.conv2d.default, aten.conv2d.padding, aten.conv3d.default)


def prepared(program: Program, parts: Parts) -> Program:
    """`program` in the form in which it is labelled for `parts`; one that has that form stays as it is."""
    return without_groups(program) if parts == "apart" else program


def without_groups(program: Program) -> Program:
    """`program` with each grouped convolution in parts, called by its name and `.group0` and so on; depthwise ones, and
    those whose weight is computed, stay as they are. Numerically nothing changes but for the order of sums."""
    graph_module = program.graph_module()
    grouped = [node for node in graph.operators(graph_module) if is_grouped(node)]
    if not grouped:
        return program
    for node in grouped:
        _take_apart(graph_module, node)
    graph_module.graph.eliminate_dead_code()
    return program.replace(graph_module)


def is_grouped(node: Node) -> bool:
    """Whether the node is a convolution of several groups, each of which reads several channels."""
    if node.target not in SPLITTABLE or graph.arguments(node)["groups"] == 1:
        return False
    weight = graph.arguments(node)["weight"]
    return bool(weight.op == "get_attr" and shape_at_batch_one(weight)[1] > 1)


def _take_apart(graph_module: GraphModule, node: Node) -> None:
    arguments = graph.arguments(node)
    source, groups = arguments["input"], arguments["groups"]
    width = shape_at_batch_one(arguments["weight"])[1]
    assert callable(node.target), "a convolution calls an operator"
    settings = [arguments[name] for name in ("stride", "padding", "dilation")]
    weights = _parts(graph_module, arguments["weight"], groups)
    biases = _parts(graph_module, arguments["bias"], groups) if arguments["bias"] else [None] * groups
    with graph_module.graph.inserting_before(node):
        made = []
        for group, names in enumerate(zip(weights, biases, strict=True)):
            stored = [None if name is None else graph_module.graph.get_attr(name) for name in names]
            start = group * width
            read = graph_module.graph.call_function(aten.slice.Tensor, (source, 1, start, start + width))
            made.append(graph_module.graph.call_function(node.target, (read, *stored, *settings, 1)))
            for new in (read, made[-1]):
                succeed(new, node)
        joined = graph_module.graph.call_function(aten.cat.default, (made, 1))
    succeed(joined, node)
    node.replace_all_uses_with(joined)
    graph_module.graph.erase_node(node)


def _parts(graph_module: GraphModule, stored: Node, groups: int) -> list[str]:
    """Store a weight or bias once for each group; the names."""
    value = graph.constant(graph_module, stored)
    assert value is not None, "a grouped convolution that is taken apart has stored weights"
    owner, _, leaf = str(stored.target).rpartition(".")
    names = [f"{owner}.group{group}.{leaf}".removeprefix(".") for group in range(groups)]
    for name, part in zip(names, value.detach().chunk(groups), strict=True):
        graph.set_constant(graph_module, name, torch.nn.Parameter(part.clone()))
    return names
