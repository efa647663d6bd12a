"""Operators that have another name, or several steps in one, are spelt out in those that have a rule for channels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.fx import GraphModule, Node

from edgepress import graph
from edgepress.compress._channels.nodes import is_stored, succeed
from edgepress.graph import aten

Call = Callable[..., Node]
"""Puts an operator with these arguments into the graph."""

Spelling = Callable[[Call, Mapping[str, Any]], Node | None]
"""What computes the same as an operator with these arguments; None where it is used in a way that stays as it is."""


def spell_out(graph_module: GraphModule, node: Node) -> None:
    """Let operators that SPELLINGS lists compute what `node` does."""
    spelling = SPELLINGS.get(graph.op_name(node))
    if spelling is None:
        return

    def call(operator: Callable[..., Any], *arguments: Any) -> Node:
        made = graph_module.graph.call_function(operator, arguments)
        succeed(made, node)
        made.meta["val"] = graph.computed(made, lambda source: source.meta["val"])
        return made

    with graph_module.graph.inserting_before(node):
        spelt = spelling(call, graph.arguments(node))
    if spelt is not None:
        node.replace_all_uses_with(spelt)


def _rank(node: Node) -> int:
    return int(node.meta["val"].ndim)


def _join(call: Call, given: Mapping[str, Any]) -> Node:
    return call(aten.cat.default, list(given["tensors"]), given["dim"])


def _join_columns(call: Call, given: Mapping[str, Any]) -> Node:
    return call(aten.cat.default, list(given["tensors"]), min(1, _rank(given["tensors"][0]) - 1))


def _stack(call: Call, given: Mapping[str, Any]) -> Node:
    layers = [call(aten.unsqueeze.default, tensor, given["dim"]) for tensor in given["tensors"]]
    return call(aten.cat.default, layers, given["dim"])


def _gate(call: Call, given: Mapping[str, Any]) -> Node | None:
    """One half of the channels, times the sigmoid of the other."""
    source, axis = given["self"], given["dim"] % _rank(given["self"])
    size = source.meta["val"].shape[axis]
    if not isinstance(size, int):
        return None
    first, second = (
        call(aten.slice.Tensor, source, axis, *ends) for ends in ((0, size // 2), (size // 2, size))
    )
    return call(aten.mul.Tensor, first, call(aten.sigmoid.default, second))


def _narrow(call: Call, given: Mapping[str, Any]) -> Node:
    return call(
        aten.slice.Tensor, given["self"], given["dim"], given["start"], given["start"] + given["length"]
    )


def _swap(call: Call, given: Mapping[str, Any]) -> Node:
    return call(aten.transpose.int, given["self"], given["dim0"], given["dim1"])


def _move(call: Call, given: Mapping[str, Any]) -> Node:
    axes = ([axes] if isinstance(axes, int) else axes for axes in (given["source"], given["destination"]))
    return call(aten.movedim.intlist, given["self"], *axes)


def _expand(call: Call, given: Mapping[str, Any]) -> Node:
    return call(aten.expand.default, given["self"], list(given["size"]))


def _tile(call: Call, given: Mapping[str, Any]) -> Node:
    times = list(given["dims"])
    return call(aten.repeat.default, given["self"], [1] * (_rank(given["self"]) - len(times)) + times)


def _reshape(call: Call, given: Mapping[str, Any]) -> Node | None:
    """As another tensor, of which at most one size depends on the batch."""
    sizes = [size if isinstance(size, int) else -1 for size in given["other"].meta["val"].shape]
    return call(aten.reshape.default, given["self"], sizes) if sizes.count(-1) <= 1 else None


def _pick(call: Call, given: Mapping[str, Any]) -> Node | None:
    """By a stored list of places along one axis, of what is no stored tensor: those are picked from as they are."""
    source, indices = given["self"], given["indices"]
    axes = [axis for axis, index in enumerate(indices) if index is not None]
    places = graph.constant(source.graph.owning_module, indices[axes[0]])
    if (
        len(axes) > 1
        or is_stored(source)
        or places is None
        or places.ndim != 1
        or places.dtype != torch.int64
    ):
        return None
    return None if (places < 0).any() else call(aten.index_select.default, source, axes[0], indices[axes[0]])


SPELLINGS: dict[str, Spelling] = {
    "concat": _join,
    "concatenate": _join,
    "hstack": _join_columns,
    "stack": _stack,
    "glu": _gate,
    "narrow": _narrow,
    "swapdims": _swap,
    "moveaxis": _move,
    "broadcast_to": _expand,
    "tile": _tile,
    "view_as": _reshape,
    "reshape_as": _reshape,
    "index": _pick,
}
"""By the operator's name."""
