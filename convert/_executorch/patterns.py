"""Rewrites a graph, without changing what it computes, into the patterns that the XNNPACK delegate takes whole.

What it does not recognise runs outside the delegate, in float, and every change of sides copies the tensor.
"""

from __future__ import annotations

from typing import Any

from torch.fx import GraphModule, Node

from edgepress import graph
from edgepress.graph import aten

CUTTING = ("chunk", "split", "split_with_sizes")
CLAMPING = ("clamp", "clamp_min")


def rewrite(module: GraphModule) -> None:
    """Rewrite in place."""
    for node in list(graph.operators(module)):
        name = graph.op_name(node)
        if name in CUTTING:
            _slice(module, node)
        elif name in CLAMPING:
            _name_activation(module, node)
        elif name == "mean":
            _keep_axes(module, node)
    for node in list(graph.operators(module)):
        if node.target in (graph.DEQUANTIZE, graph.DEQUANTIZE_CHANNELS):
            _copy_for_each_reader(module, node)
    module.graph.eliminate_dead_code()
    module.recompile()


def _copy_for_each_reader(module: GraphModule, node: Node) -> None:
    """An operator and what dequantizes its inputs are one pattern: nothing may be part of two."""
    for reader in list(node.users)[1:]:
        with module.graph.inserting_before(reader):
            copied = module.graph.node_copy(node)
        reader.replace_input_with(node, copied)


def _slice(module: GraphModule, node: Node) -> None:
    """A slice for each piece: the delegate has no operator with several results."""
    source, axis = node.args[0], graph.arguments(node)["dim"]
    sizes = [piece.shape[axis] for piece in node.meta["val"]]
    if not all(isinstance(size, int) for size in sizes):
        return  # along the batch
    for item in list(node.users):
        place: Any = item.args[1]
        bounds = sum(sizes[:place]), sum(sizes[: place + 1])
        with module.graph.inserting_before(item):
            piece = module.graph.call_function(aten.slice.Tensor, (source, axis, *bounds))
        _replace(item, piece)


def _name_activation(module: GraphModule, node: Node) -> None:
    """A clamp from zero, or between two numbers, by the names under which it is fused."""
    low, high = node.args[1], graph.arguments(node).get("max")
    if not isinstance(low, (int, float)) or not node.meta["val"].is_floating_point():
        return
    with module.graph.inserting_before(node):
        if isinstance(high, (int, float)):
            named = module.graph.call_function(aten.hardtanh.default, (node.args[0], low, high))
        elif high is None and low == 0:
            named = module.graph.call_function(aten.relu.default, (node.args[0],))
        else:
            return
    _replace(node, named)


def _keep_axes(module: GraphModule, node: Node) -> None:
    """A mean over the pixels keeps their axes, as the delegate's does, and a reshape behind it drops them."""
    arguments = graph.arguments(node)
    if arguments["keepdim"] or not _is_over_pixels(arguments):
        return
    node.args = (node.args[0], node.args[1], True)
    readers = list(node.users)
    code = readers[0].args[1:] if len(readers) == 1 and readers[0].target is graph.QUANTIZE else ()
    with module.graph.inserting_after(node):
        flat = module.graph.call_function(aten.flatten.using_ints, (node, 1))
    _replace(node, flat)
    if code:  # both of them read and give int8
        with module.graph.inserting_before(flat):
            quantized = module.graph.call_function(graph.QUANTIZE, (node, *code))
            flat.replace_input_with(node, module.graph.call_function(graph.DEQUANTIZE, (quantized, *code)))


def _is_over_pixels(arguments: dict[str, Any]) -> bool:
    source, axes = arguments["self"], arguments["dim"]
    return source.meta["val"].ndim == 4 and axes is not None and sorted(axis % 4 for axis in axes) == [2, 3]


def _replace(old: Node, new: Node) -> None:
    """Let the readers of `old` read `new`, which says where it comes from in the user's code."""
    new.meta = dict(old.meta)
    old.replace_all_uses_with(new, delete_user_cb=lambda reader: reader is not new)
