"""What reading and rewriting channels share about single nodes: shapes at a batch, running one alone, making new ones."""

from __future__ import annotations

from typing import Any

import torch
from torch.fx import GraphModule, Node

from edgepress import graph
from edgepress.graph import aten

REARRANGING = frozenset(
    {
        "reshape", "flatten", "unflatten", "permute", "transpose", "t", "numpy_T",
        "movedim", "swapaxes", "squeeze", "unsqueeze", "channel_shuffle", "native_channel_shuffle",
    }
)  # fmt: skip
"""Operators that keep every element and only move it."""

COPYING = REARRANGING | {
    "select",
    "expand",
    "repeat",
    "repeat_interleave",
    "pixel_shuffle",
    "pixel_unshuffle",
    "flip",
}
"""Operators that only copy elements, each to one place or several."""

TAKING = COPYING | {"slice", "index"}
"""Operators that give entries of their input in any number and place."""

RECURRENT = frozenset(
    {"lstm", "gru", "rnn_tanh", "rnn_relu", "lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell"}
)
"""Recurrent layers, over all steps or for a single one."""

FILLED = frozenset({"zeros", "ones", "full", "new_zeros", "new_ones", "new_full"})
"""Operators that make a tensor with the same value everywhere."""

FILLED_LIKE = frozenset({"zeros_like", "ones_like", "full_like"})
"""The same, in the shape of another tensor."""

SIZE_LISTS = {
    "view": "size",
    "reshape": "shape",
    "_unsafe_view": "size",
    "expand": "size",
    "unflatten": "sizes",
    **dict.fromkeys(FILLED, "size"),
}
"""Operators whose arguments spell out sizes, channel counts among them, and the name of the argument."""


def shape_at_batch_one(node: Node) -> tuple[int, ...]:
    """The shape of the node's tensor when the batch is 1."""
    return shape_at_batch(node, 1)


def shape_at_batch(node: Node, batch: int) -> tuple[int, ...]:
    """The shape of the node's tensor at this batch size."""
    return tuple(int(graph.at_batch(size, batch)) for size in node.meta["val"].shape)


def is_stored(node: object) -> bool:
    """Whether the node is a stored tensor, or only moves and copies entries of one."""
    if not isinstance(node, Node) or node.op != "call_function" or graph.op_name(node) not in TAKING:
        return isinstance(node, Node) and node.op == "get_attr"
    indices = node.args[1] if graph.op_name(node) == "index" else ()
    return is_stored(node.args[0]) and all(index is None or is_stored(index) for index in indices)  # type: ignore[union-attr]  # index has a list of them


def rearranged(node: Node, tensor: torch.Tensor, batch: int = 1) -> torch.Tensor:
    """What the node makes of `tensor` in place of its first input (of the same shape, at this batch size)."""
    args, kwargs = torch.fx.map_arg((node.args[1:], node.kwargs), lambda argument: _value(argument, batch))
    result: torch.Tensor = node.target(tensor, *args, **kwargs)  # type: ignore[operator]  # an operator's target can be called
    return result


def _value(argument: Node, batch: int) -> Any:
    """A stored tensor as it is, for it may be an index; a size at this batch."""
    if not is_stored(argument):
        return graph.at_batch(argument, batch)
    if argument.op == "get_attr":
        assert argument.graph.owning_module is not None
        return graph.constant(argument.graph.owning_module, argument)
    return rearranged(argument, _value(argument.args[0], batch), batch)  # type: ignore[arg-type]  # is_stored has seen that it is a node


def succeed(new: Node, old: Node) -> None:
    """Let `new` stand in the user's code where `old` stood."""
    for key in ("nn_module_stack", "stack_trace", "val"):
        if key in old.meta:
            new.meta[key] = old.meta[key]


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


def resize(node: Node, axis: int, count: int) -> None:
    """Let the sizes that the node spells out say `count` for `axis` of its output; one that grows with the
    batch is left for PyTorch to work out."""
    argument = SIZE_LISTS.get(graph.op_name(node))
    if argument is None:
        return
    sizes = list(graph.arguments(node)[argument])
    if argument == "sizes":
        axis -= graph.arguments(node)["dim"] % (len(shape_at_batch_one(node)) - len(sizes) + 1)
    if not 0 <= axis < len(sizes) or sizes[axis] == -1:
        return
    if not isinstance(sizes[axis], int):
        sizes = [node.meta["val"].shape[place] if size == -1 else size for place, size in enumerate(sizes)]
        count = -1
    sizes[axis] = count
    set_argument(node, argument, sizes)


def set_argument(node: Node, name: str, value: Any) -> None:
    """Set an argument by its name in the operator's schema."""
    names = [argument.name for argument in node.target._schema.arguments]  # type: ignore[union-attr]  # an operator has a schema
    place = names.index(name)
    if place < len(node.args):
        node.update_arg(place, value)
    else:
        node.update_kwarg(name, value)
