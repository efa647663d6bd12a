"""Rewrites a captured graph so that every movement of channels is explicit: slices, cat and constant index_select.

A channel shuffle by view, transpose and reshape becomes one permutation of the channels, and chunk and split
become slices of any size. Taken literally, those operators demand groups and halves of equal size; then a
whole ShuffleNet stage is tied together and nothing in it can be removed. Numerically nothing changes.
"""

from __future__ import annotations

import operator

import torch
from torch.fx import GraphModule, Node

from edgepress import graph
from edgepress.compress._channels.nodes import (
    REARRANGING,
    rearranged,
    select_channels,
    shape_at_batch_one,
    succeed,
)
from edgepress.compress._channels.selections import select_before_reshaping
from edgepress.compress._channels.spelling import spell_out
from edgepress.errors import UnsupportedModel
from edgepress.graph import aten
from edgepress.response_norm import neighbours_as_layers

COPIES = frozenset({"contiguous", "clone", "alias", "detach", "lift_fresh_copy"})
SPLITS = frozenset({"chunk", "split", "split_with_sizes", "tensor_split"})
VIEWS = frozenset({"slice", "select", "getitem", "unbind", "view", "alias", "detach", *SPLITS, *REARRANGING})


def normalise(graph_module: GraphModule) -> None:
    """Rewrite the graph in place. Raises UnsupportedModel when it writes into a part of a tensor used elsewhere."""
    neighbours_as_layers(graph_module)
    for step in (
        _without_writes,
        _without_copies,
        spell_out,
        _views_as_reshapes,
        _splits_as_slices,
        _shuffles_as_permutations,
        select_before_reshaping,
        _products_as_layers,
    ):
        for node in list(graph.operators(graph_module)):
            step(graph_module, node)
        graph_module.graph.eliminate_dead_code()


def _without_writes(graph_module: GraphModule, node: Node) -> None:
    """relu_(x) becomes relu(x), and later readers of x read that."""
    schema = getattr(node.target, "_schema", None)
    if schema is None or not schema.is_mutable or not schema.name.endswith("_"):
        return
    changed = node.args[0]
    assert isinstance(changed, Node)
    position = {other: number for number, other in enumerate(graph_module.graph.nodes)}
    if any(position[reader] > position[node] for reader in _other_readers(changed)):
        raise UnsupportedModel(
            f"{graph.op_name(node)} writes in place into part of a tensor that is read again later.",
            where=f"{graph.layer_name(node)}: {graph.source_line(node)}",
            hint="write x = x + y in place of x += y there",
        )
    packet = getattr(aten, graph.op_name(node).removesuffix("_"))
    node.target = getattr(packet, node.target._overloadname)  # type: ignore[union-attr]  # an operator has a name
    changed.replace_all_uses_with(node, delete_user_cb=lambda user: position[user] > position[node])


def _other_readers(view: Node) -> list[Node]:
    """Who else reads the memory of `view`, when it is a view, than through it; the parts of a split are apart."""
    readers: list[Node] = []
    while view.op == "call_function" and graph.op_name(view) in VIEWS:
        base = view.all_input_nodes[0]
        if view.target is not operator.getitem:
            readers += [user for user in base.users if user is not view]
        view = base
    return readers


def _without_copies(graph_module: GraphModule, node: Node) -> None:
    """Copies, and slices that take everything, are left out: the graph is functional now."""
    name = graph.op_name(node)
    takes_all = name == "slice" and _is_whole_slice(node)
    if name in COPIES or takes_all:
        node.replace_all_uses_with(node.args[0])  # type: ignore[arg-type]  # what it copies is a node


def _views_as_reshapes(graph_module: GraphModule, node: Node) -> None:
    """What a view reads may be a slice in the end, which has gaps in memory that a view does not take."""
    if node.target in (aten.view.default, aten._unsafe_view.default):
        node.target = aten.reshape.default


def _is_whole_slice(node: Node) -> bool:
    arguments = graph.arguments(node)
    start, end, step = arguments["start"] or 0, arguments["end"], arguments["step"]
    return start == 0 and step == 1 and (end is None or (isinstance(end, int) and end >= 2**62))


def _splits_as_slices(graph_module: GraphModule, node: Node) -> None:
    """Each part of a chunk, a split or an unbind becomes a slice, or a selected entry, of its own."""
    name = graph.op_name(node)
    if name not in SPLITS and name != "unbind":
        return
    source, whole = graph.arguments(node)["self"], node.all_input_nodes[0].meta["val"]
    axis = graph.arguments(node)["dim"] % whole.ndim
    if not isinstance(whole.shape[axis], int):
        return
    ends = [1] * whole.shape[axis] if name == "unbind" else [part.shape[axis] for part in node.meta["val"]]
    ends = torch.tensor(ends).cumsum(0).tolist()
    for part in list(node.users):
        if part.target is not operator.getitem:
            continue
        place = int(part.args[1]) % len(ends)  # type: ignore[arg-type]  # getitem's place is a number
        start = ends[place - 1] if place else 0
        with graph_module.graph.inserting_before(node):
            if name == "unbind":
                own = graph_module.graph.call_function(aten.select.int, (source, axis, start))
            else:
                own = graph_module.graph.call_function(aten.slice.Tensor, (source, axis, start, ends[place]))
        succeed(own, part)
        part.replace_all_uses_with(own)


def _shuffles_as_permutations(graph_module: GraphModule, node: Node) -> None:
    """A chain of views and transposes that in the end only permutes one axis becomes an index_select."""
    if graph.op_name(node) not in REARRANGING:
        return
    chain = _chain_back_to_same_shape(node)
    if not chain:
        return
    source, shape = chain[-1].args[0], shape_at_batch_one(node)
    assert isinstance(source, Node)
    index = torch.arange(int(torch.tensor(shape).prod())).reshape(shape)
    moved = index
    for link in reversed(chain):
        moved = rearranged(link, moved)
    if torch.equal(moved, index):
        node.replace_all_uses_with(source)
        return
    for axis in range(1, len(shape)):
        stride = index.stride(axis)
        order = moved.movedim(axis, 0).reshape(shape[axis], -1)[:, 0] // stride % shape[axis]
        if torch.equal(index.index_select(axis, order), moved):
            replacement = select_channels(graph_module, source, axis, order, before=node)
            succeed(replacement, node)
            node.replace_all_uses_with(replacement)
            return


def _chain_back_to_same_shape(node: Node) -> list[Node]:
    """The shortest chain of rearranging nodes that ends in `node` and starts from a tensor of its shape."""
    chain, shape = [node], shape_at_batch_one(node)
    while True:
        source = chain[-1].args[0]
        if not isinstance(source, Node) or not isinstance(source.meta.get("val"), torch.Tensor):
            return []
        if shape_at_batch_one(source) == shape:
            return chain
        if source.op != "call_function" or graph.op_name(source) not in REARRANGING:
            return []
        chain.append(source)


def _products_as_layers(graph_module: GraphModule, node: Node) -> None:
    """A product with a stored matrix that is transposed first is a linear layer."""
    name, arguments = graph.op_name(node), node.args
    if name in ("mm", "matmul"):
        data, matrix, bias = arguments[0], arguments[1], None
    elif name == "addmm" and not node.kwargs:
        bias, data, matrix = arguments
    else:
        return
    if isinstance(matrix, Node) and graph.op_name(matrix) in ("t", "numpy_T", "transpose"):
        weight = matrix.all_input_nodes[0]
        is_bias = bias is None or (bias.op == "get_attr" and bias.meta["val"].ndim == 1)  # type: ignore[union-attr]  # of addmm it is a node
        if weight.op == "get_attr" and weight.meta["val"].ndim == 2 and is_bias:
            node.target, node.args = aten.linear.default, (data, weight, bias)
