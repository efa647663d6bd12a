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
from edgepress.errors import UnsupportedModel

aten = torch.ops.aten

REARRANGING = frozenset(
    {
        "reshape", "flatten", "unflatten", "permute", "transpose", "t", "numpy_T",
        "movedim", "swapaxes", "squeeze", "unsqueeze", "channel_shuffle", "native_channel_shuffle",
    }
)  # fmt: skip
"""Operators that keep every element and only move it."""

COPIES = frozenset({"contiguous", "clone", "alias", "detach", "lift_fresh_copy"})
SPLITS = frozenset({"chunk", "split", "split_with_sizes", "tensor_split"})
VIEWS = frozenset({"slice", "select", "getitem", "view", "alias", "detach", *SPLITS, *REARRANGING})


def normalise(graph_module: GraphModule) -> None:
    """Rewrite the graph in place. Raises UnsupportedModel when it writes into a part of a tensor used elsewhere."""
    for step in (
        _without_writes,
        _without_copies,
        _views_as_reshapes,
        _splits_as_slices,
        _shuffles_as_permutations,
    ):
        for node in list(graph.operators(graph_module)):
            step(graph_module, node)
        graph_module.graph.eliminate_dead_code()


def shape_at_batch_one(node: Node) -> tuple[int, ...]:
    """The shape of the node's tensor when the batch is 1."""
    return tuple(int(graph.at_batch_one(size)) for size in node.meta["val"].shape)


def rearranged(node: Node, tensor: torch.Tensor) -> torch.Tensor:
    """What the node makes of `tensor` in place of its own input (of the same shape, at batch 1)."""
    args, kwargs = torch.fx.map_arg((node.args[1:], node.kwargs), graph.at_batch_one)
    result: torch.Tensor = node.target(tensor, *args, **kwargs)  # type: ignore[operator]
    return result


def succeed(new: Node, old: Node) -> None:
    """Let `new` stand in the user's code where `old` stood."""
    for key in ("nn_module_stack", "stack_trace", "val"):
        if key in old.meta:
            new.meta[key] = old.meta[key]


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
            f"{graph.op_name(node)} writes into a part of a tensor that is read again later.",
            where=f"{graph.layer_name(node)}: {graph.source_line(node)}",
            hint="write x = x + y in place of x += y there",
        )
    packet = getattr(aten, graph.op_name(node).removesuffix("_"))
    node.target = getattr(packet, node.target._overloadname)  # type: ignore[union-attr]
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
        node.replace_all_uses_with(node.args[0])  # type: ignore[arg-type]


def _views_as_reshapes(graph_module: GraphModule, node: Node) -> None:
    """What a view reads may be a slice in the end, which has gaps in memory that a view does not take."""
    if node.target in (aten.view.default, aten._unsafe_view.default):
        node.target = aten.reshape.default


def _is_whole_slice(node: Node) -> bool:
    arguments = graph.arguments(node)
    start, end, step = arguments["start"] or 0, arguments["end"], arguments["step"]
    return start == 0 and step == 1 and (end is None or (isinstance(end, int) and end >= 2**62))


def _splits_as_slices(graph_module: GraphModule, node: Node) -> None:
    if graph.op_name(node) not in SPLITS:
        return
    arguments = graph.arguments(node)
    source, axis = arguments["self"], arguments["dim"] % len(node.meta["val"][0].shape)
    if axis == 0:
        return
    ends = torch.tensor([part.shape[axis] for part in node.meta["val"]]).cumsum(0).tolist()
    for part in list(node.users):
        if part.target is not operator.getitem:
            continue
        end = ends[part.args[1]]  # type: ignore[index]
        start = end - part.meta["val"].shape[axis]
        with graph_module.graph.inserting_before(node):
            slice_node = graph_module.graph.call_function(aten.slice.Tensor, (source, axis, start, end))
        succeed(slice_node, part)
        part.replace_all_uses_with(slice_node)


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


def select_channels(
    graph_module: GraphModule, source: Node, axis: int, order: torch.Tensor, *, before: Node
) -> Node:
    """A new node that takes the entries `order` (int64) of one axis of `source`."""
    number = sum(node.target is aten.index_select.default for node in graph_module.graph.nodes)
    name = f"channel_order_{number}"
    while hasattr(graph_module, name):
        number += 1
        name = f"channel_order_{number}"
    graph.set_constant(graph_module, name, order.clone())
    with graph_module.graph.inserting_before(before):
        constant = graph_module.graph.get_attr(name)
        constant.meta["val"] = order
        return graph_module.graph.call_function(aten.index_select.default, (source, axis, constant))
