"""Stores the parts of a weight by themselves that layers read in parts.

nn.MultiheadAttention stores the weights of query, key and value as one; between two sequences it reads them as two
layers or three, each with its part. Stages and formats know layers whose weight is a stored tensor.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator

import torch
from torch.export import ExportedProgram
from torch.fx import GraphModule, Node

from edgepress import graph

SPLITS = frozenset({"chunk", "split", "split_with_sizes"})


def reads_parts(exported: ExportedProgram) -> bool:
    """Whether any parameter is split."""
    parameters = exported.graph_signature.inputs_to_parameters
    return any(
        graph.op_name(user) in SPLITS
        for node in exported.graph.nodes
        if node.name in parameters
        for user in node.users
    )


def store_parts(graph_module: GraphModule) -> None:
    """Rewrite the graph in place: of `in_proj_weight` its parts become `in_proj_weight_0` and `in_proj_weight_1`."""
    stored = {str(node.target) for node in graph_module.graph.nodes if node.op == "get_attr"}
    taken = [name for name in sorted(stored) if _take_apart(graph_module, name)]
    graph_module.graph.eliminate_dead_code()
    for name in taken:
        graph.remove_constant(graph_module, name)


def _take_apart(graph_module: GraphModule, name: str) -> bool:
    """Store what is read of a tensor as tensors of its own, where layers read it so, all of it, and each row once."""
    readers = [
        user
        for node in graph_module.graph.nodes
        if node.op == "get_attr" and node.target == name
        for user in node.users
    ]
    if not readers or any(
        graph.op_name(reader) not in SPLITS or graph.arguments(reader)["dim"] for reader in readers
    ):
        return False
    parts = [part for reader in readers for part in _parts(reader)]
    value = graph.constant(graph_module, readers[0].args[0])
    if not isinstance(value, torch.nn.Parameter) or not any(_is_of_a_layer(part) for part, _, _ in parts):
        return False
    rows = sorted(row for _, start, end in parts for row in range(start, end))
    if rows != list(range(len(value))):
        return False
    for number, (part, start, end) in enumerate(parts):
        own = f"{name}_{number}"
        graph.set_constant(graph_module, own, torch.nn.Parameter(value.detach()[start:end].clone()))
        with graph_module.graph.inserting_before(part):
            alone = graph_module.graph.get_attr(own)
        alone.meta = dict(part.meta)
        part.replace_all_uses_with(alone)
    return True


def _parts(split: Node) -> Iterator[tuple[Node, int, int]]:
    """Each part that is read of a split tensor, and the rows that it has."""
    ends = torch.tensor([0, *(len(part) for part in split.meta["val"])]).cumsum(0).tolist()
    for user in split.users:
        if user.target is operator.getitem:
            place = int(user.args[1]) % (len(ends) - 1)  # type: ignore[arg-type]  # getitem's place is a number
            yield user, ends[place], ends[place + 1]


def _is_of_a_layer(part: Node) -> bool:
    return any(
        user.target in graph.WEIGHTED and part in (graph.arguments(user)[name] for name in ("weight", "bias"))
        for user in part.users
    )
