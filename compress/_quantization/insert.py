"""Rewrites a float graph by a plan: pairs of quantize and dequantize on activations, int8 weights in layers."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch.fx import GraphModule, Node

from edgepress import graph
from edgepress.compress._quantization.orientation import output_axis, outputs_first
from edgepress.compress._quantization.plan import Plan
from edgepress.compress._quantization.ranges import Range
from edgepress.compress._quantization.weights import QuantizedWeight

ORIGIN = ("nn_module_stack", "stack_trace")
"""What a new node takes over from the node whose value it handles: the user's layer and line."""


def insert_pairs(graph_module: GraphModule, plan: Plan, ranges: Mapping[Node, Range]) -> None:
    """Give every tensor of the plan its pair, in place. `ranges` holds a range for each."""
    for tensor, range in ranges.items():
        _insert_pair(graph_module, tensor, range, plan.readers)


def insert_weights(graph_module: GraphModule, weights: Mapping[Node, QuantizedWeight]) -> None:
    """Replace the float weights of these layers by integers, in place; layers that share one get it together."""
    for layer, made in weights.items():
        _replace_weight(graph_module, layer, made)
    graph_module.graph.eliminate_dead_code()


def _insert_pair(graph_module: GraphModule, tensor: Node, range: Range, readers: frozenset[Node]) -> None:
    """Let the readers of `tensor` read its int8 form: all of them when an int8 operator made it."""
    users = [user for user in tensor.users if tensor in readers or user in readers]
    arguments = (range.scale, range.zero_point, range.lowest, range.highest, range.dtype)
    with graph_module.graph.inserting_after(tensor):
        quantized = graph_module.graph.call_function(graph.QUANTIZE, (tensor, *arguments))
    with graph_module.graph.inserting_after(quantized):
        dequantized = graph_module.graph.call_function(graph.DEQUANTIZE, (quantized, *arguments))
    for node in (quantized, dequantized):
        copy_origin(tensor, node)
    for user in users:
        user.replace_input_with(tensor, dequantized)


def _replace_weight(graph_module: GraphModule, layer: Node, result: QuantizedWeight) -> None:
    """The int8 buffer under the parameter's name, read through a dequantize by every layer that shares it."""
    reader = graph.weight_node(layer)
    assert reader is not None, "the layers of a plan have stored weights"
    name = str(reader.target)
    # A parameter would stay one; integers are a buffer.
    graph.remove_constant(graph_module, name)
    graph.set_constant(graph_module, name, outputs_first(layer, result.values).contiguous())
    graph.set_constant(graph_module, f"{name}_scale", result.scales)
    graph.set_constant(graph_module, f"{name}_zero_point", torch.zeros_like(result.scales, dtype=torch.int64))
    with graph_module.graph.inserting_before(next(iter(graph_module.graph.nodes))):
        stored, scales, zero_points = (
            graph_module.graph.get_attr(f"{name}{suffix}") for suffix in ("", "_scale", "_zero_point")
        )
        code = (-result.limit, result.limit, torch.int8)
        if result.group_size is None:
            dequantized = graph_module.graph.call_function(
                graph.DEQUANTIZE_CHANNELS, (stored, scales, zero_points, output_axis(layer), *code)
            )
        else:
            dequantized = graph_module.graph.call_function(
                graph.DEQUANTIZE_GROUPS,
                (stored, scales, zero_points, *code, result.group_size, torch.float32),
            )
    copy_origin(layer, dequantized)
    for old in [node for node in graph_module.graph.nodes if node.op == "get_attr" and node.target == name]:
        if old is not stored:
            old.replace_all_uses_with(dequantized)


def copy_origin(source: Node, new: Node) -> None:
    for key in ORIGIN:
        if key in source.meta:
            new.meta[key] = source.meta[key]
