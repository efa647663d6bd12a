"""Rewrites of a captured graph that change no value: what is left is what a file has to compute.

In order: writes in place become values of their own, identities go, what depends on constants alone is
computed, and batch-norm goes into the convolution or linear layer before it.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from typing import Any

import torch
from torch.fx import GraphModule, Node
from torch.utils import _pytree

from edgepress.errors import UnsupportedModel
from edgepress.graph import (
    DEQUANTIZE_CHANNELS,
    WEIGHTED,
    arguments,
    at_batch,
    aten,
    batch_norm_affine,
    computed,
    constant,
    layer_name,
    operators,
    set_constant,
    source_line,
)

IDENTITIES = {
    aten.dropout.default, aten.dropout_.default, aten.feature_dropout.default, aten.contiguous.default,
    aten.clone.default, aten.alias.default, aten.detach.default, aten.detach_.default, aten.lift_fresh_copy.default,
    aten.to.dtype, aten.to.dtype_layout, aten.to.device, aten._to_copy.default, aten.expand.default,
    aten.slice.Tensor,
}  # fmt: skip
"""Operators that hand their input on unchanged, wherever shape and dtype stay the same."""

ALIASES = {
    aten.view.default, aten.reshape.default, aten.flatten.using_ints, aten.transpose.int, aten.permute.default,
    aten.slice.Tensor, aten.select.int, aten.chunk.default, aten.split.Tensor, aten.split_with_sizes.default,
    aten.unbind.int, aten.squeeze.default, aten.squeeze.dim, aten.squeeze.dims, aten.unsqueeze.default,
    aten.unflatten.int, aten.expand.default, aten.alias.default, operator.getitem,
}  # fmt: skip
"""Operators whose result shares memory with their input."""

SHAPE_ONLY = {
    aten.zeros_like.default, aten.ones_like.default, aten.full_like.default, aten.new_zeros.default,
    aten.new_ones.default, aten.new_full.default,
}  # fmt: skip
"""Operators that look at no value of their input."""

NORMALIZED = (
    aten.conv1d.default,
    aten.conv2d.default,
    aten.conv2d.padding,
    aten.conv_transpose2d.input,
    aten.linear.default,
)

READ_INTEGERS = (*WEIGHTED, aten.embedding.default)
"""Operators whose weight the file can hold as integers."""


def simplified(graph_module: GraphModule, batch: int) -> GraphModule:
    """The same graph module, rewritten for a fixed `batch`; UnsupportedModel for a write in place that other views would see."""
    steps = (
        separate_writes,
        drop_identities,
        functools.partial(fold_constants, batch=batch),
        fold_batch_norms,
    )
    for step in steps:
        step(graph_module)
        drop_unread(graph_module)
    return graph_module


def drop_unread(graph_module: GraphModule) -> None:
    """Take away what nobody reads; an input stays, for the signature names it."""
    graph_module.graph.eliminate_dead_code(is_impure_node=lambda node: node.op in ("placeholder", "output"))


def separate_writes(graph_module: GraphModule) -> None:
    """Let what comes after `relu_(x)` read its result instead of `x`."""
    position = {node: number for number, node in enumerate(graph_module.graph.nodes)}
    for node in operators(graph_module):
        schema = getattr(node.target, "_schema", None)
        if schema is None or not schema.is_mutable or not schema.name.endswith("_"):
            continue
        written = node.args[0]
        assert isinstance(written, Node)
        later = _is_later(position, node)
        written.replace_all_uses_with(node, delete_user_cb=later)
        if any(later(user) for alias in _aliases(written) - {written, node} for user in alias.users):
            raise UnsupportedModel(
                f"{node.target} writes into a tensor that is read through another view afterwards.",
                where=f"{layer_name(node)}: {source_line(node)}",
                hint="use the operator that returns a new tensor (no trailing underscore, inplace=False)",
            )


def drop_identities(graph_module: GraphModule) -> None:
    for node in operators(graph_module):
        source = node.args[0] if node.args else None
        if node.target in IDENTITIES and isinstance(source, Node) and _is_identity(node, source):
            node.replace_all_uses_with(source)


def fold_constants(graph_module: GraphModule, batch: int) -> None:
    """Compute what depends on no input, sizes of the batch included; the int8 weight of a layer stays as it is."""
    known: dict[Node, Any] = {}
    for node in list(graph_module.graph.nodes):
        if node.op == "get_attr":
            known[node] = constant(graph_module, node)
        elif isinstance(size := node.meta.get("val"), (int, torch.SymInt)):
            known[node] = at_batch(size, batch)
        elif node.target in SHAPE_ONLY:
            value = node.args[0].meta["val"]
            like = torch.empty([at_batch(length, batch) for length in value.shape], dtype=value.dtype)
            known[node] = node.target(
                like, *_pytree.tree_map_only(Node, known.__getitem__, node.args[1:]), **node.kwargs
            )
        elif (
            node.op == "call_function"
            and not _draws(node)
            and all(known.get(source) is not None for source in node.all_input_nodes)
        ):
            with torch.no_grad():
                known[node] = computed(node, known.__getitem__)
    for node, value in known.items():
        for user in list(node.users):
            kept = node.op == "get_attr" or (
                node.target is DEQUANTIZE_CHANNELS and user.target in READ_INTEGERS
            )
            if user not in known and not kept and isinstance(value, torch.Tensor):
                user.replace_input_with(
                    node, _constant_before(graph_module, user, f"{node.name}_value", value)
                )


def fold_batch_norms(graph_module: GraphModule) -> None:
    """conv -> batch_norm (or linear -> batch_norm) becomes one layer with scaled weights (Jacob et al., 2018)."""
    for norm in list(operators(graph_module)):
        if norm.target is not aten.batch_norm.default:
            continue
        layer = norm.args[0]
        if isinstance(layer, Node) and _gives_channels(layer) and len(layer.users) == 1:
            weight = constant(graph_module, arguments(layer)["weight"])
            if weight is not None:
                _fold(graph_module, layer, norm, weight)


def scale_and_shift(graph_module: GraphModule, norm: Node) -> tuple[torch.Tensor, torch.Tensor]:
    """Of a batch_norm; UnsupportedModel for one in training mode."""
    if arguments(norm)["training"]:
        raise UnsupportedModel(
            "A batch-norm is in training mode.", where=layer_name(norm), hint="call eval() before the capture"
        )
    return batch_norm_affine(graph_module, norm)


def _gives_channels(layer: Node) -> bool:
    """Whether the layer's outputs lie on axis 1, the one that batch-norm scales: a linear layer's are the last axis."""
    return layer.target in NORMALIZED and (
        layer.target is not aten.linear.default or layer.meta["val"].dim() == 2
    )


def _fold(graph_module: GraphModule, layer: Node, norm: Node, weight: torch.Tensor) -> None:
    values = arguments(layer)
    scale, shift = scale_and_shift(graph_module, norm)
    bias = constant(graph_module, values["bias"])
    shift = shift if bias is None else shift + bias.double() * scale
    if layer.target is aten.conv_transpose2d.input:
        grouped = weight.double().reshape(values["groups"], -1, *weight.shape[1:])
        scaled = (grouped * scale.view(values["groups"], 1, -1, 1, 1)).flatten(0, 1)
    else:
        scaled = weight.double() * scale.view(-1, *[1] * (weight.dim() - 1))
    name = layer_name(layer)
    new_weight = _constant_before(graph_module, layer, f"{name}.weight", scaled.to(weight.dtype))
    new_bias = _constant_before(graph_module, layer, f"{name}.bias", shift.to(weight.dtype))
    layer.args = (layer.args[0], new_weight, new_bias, *layer.args[3:])
    layer.kwargs = {key: value for key, value in layer.kwargs.items() if key not in ("weight", "bias")}
    norm.replace_all_uses_with(layer)


def _constant_before(graph_module: GraphModule, node: Node, name: str, value: torch.Tensor) -> Node:
    """A `get_attr` node before `node` for `value`, named `name`, or like it where other nodes read that."""
    taken = {
        user
        for other in graph_module.graph.nodes
        if other.op == "get_attr" and other.target == name
        for user in other.users
    }
    unique = name if taken <= {node} else f"{name}_{node.name}"
    set_constant(graph_module, unique, value.detach())
    with graph_module.graph.inserting_before(node):
        made = graph_module.graph.get_attr(unique)
    made.meta["val"] = value
    return made


def _draws(node: Node) -> bool:
    """Whether the operator gives other numbers each time: computed here, one draw would be in the file for good."""
    return torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ())


def _is_identity(node: Node, source: Node) -> bool:
    before, after = source.meta["val"], node.meta["val"]
    if not isinstance(before, torch.Tensor) or before.shape != after.shape or before.dtype != after.dtype:
        return False
    if "dropout" in str(node.target):
        return not node.args[2]
    return node.target is not aten.slice.Tensor or arguments(node)["step"] == 1


def _is_later(position: dict[Node, int], node: Node) -> Callable[[Node], bool]:
    return lambda user: position[user] > position[node]


def _aliases(node: Node) -> set[Node]:
    """Every node that shares memory with `node` by a chain of views, itself included."""
    root = node
    while root.target in ALIASES and isinstance(root.args[0], Node):
        root = root.args[0]
    found, waiting = {root}, [root]
    while waiting:
        for user in waiting.pop().users:
            if user.target in ALIASES and user not in found:
                found.add(user)
                waiting.append(user)
    return found
