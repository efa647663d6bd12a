"""Rewrites a float graph by a plan: pairs of quantize and dequantize on activations, int8 weights in layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch.fx import GraphModule, Node

from edgepress import graph
from edgepress.compress._quantization.plan import Plan
from edgepress.compress._quantization.ranges import HIGHEST, LOWEST, Range
from edgepress.compress._quantization.weights import (
    WEIGHT_LIMIT,
    QuantizedWeight,
    WeightOptions,
    bias_shift,
    quantize_weight,
)

ORIGIN = ("nn_module_stack", "stack_trace")
"""What a new node takes over from the node whose value it handles: the user's layer and line."""


def insert_quantization(
    graph_module: GraphModule,
    plan: Plan,
    ranges: Mapping[Node, Range],
    means: Mapping[Node, torch.Tensor],
    weight_options: Callable[[Node], WeightOptions],
) -> None:
    """Rewrite in place. `ranges` holds a range for every tensor of the plan, `weight_options` is asked for each
    layer, and layers in `means` (of their input's channels) get a bias that makes up for the weight's rounding."""
    for layer in plan.layers:
        weight = graph.constant(graph_module, layer.args[1])
        if weight is None:
            continue  # another layer shares it, and came first
        bias = graph.constant(graph_module, graph.arguments(layer)["bias"])
        result = quantize_weight(weight, bias, ranges[layer.all_input_nodes[0]], weight_options(layer))
        if layer in means:
            _shift_bias(graph_module, layer, bias, -bias_shift(weight, result, means[layer]))
        _replace_weight(graph_module, layer, result)
    for tensor, range in ranges.items():
        _insert_pair(graph_module, tensor, range, plan.readers)
    graph_module.graph.eliminate_dead_code()


def _insert_pair(graph_module: GraphModule, tensor: Node, range: Range, readers: frozenset[Node]) -> None:
    """Let the readers of `tensor` read its int8 form: all of them when an int8 operator made it."""
    users = [user for user in tensor.users if tensor in readers or user in readers]
    arguments = (range.scale, range.zero_point, LOWEST, HIGHEST, torch.int8)
    with graph_module.graph.inserting_after(tensor):
        quantized = graph_module.graph.call_function(graph.QUANTIZE, (tensor, *arguments))
    with graph_module.graph.inserting_after(quantized):
        dequantized = graph_module.graph.call_function(graph.DEQUANTIZE, (quantized, *arguments))
    for node in (quantized, dequantized):
        _copy_origin(tensor, node)
    for user in users:
        user.replace_input_with(tensor, dequantized)


def _shift_bias(
    graph_module: GraphModule, layer: Node, bias: torch.Tensor | None, shift: torch.Tensor
) -> None:
    if bias is None:
        graph.add_bias(graph_module, layer, shift.float())
    else:
        name = str(graph.arguments(layer)["bias"].target)
        graph.set_constant(graph_module, name, (bias + shift).to(bias.dtype))


def _replace_weight(graph_module: GraphModule, layer: Node, result: QuantizedWeight) -> None:
    """The int8 buffer under the parameter's name, read through a dequantize by every layer that shares it."""
    reader = layer.args[1]
    assert isinstance(reader, Node)
    name = str(reader.target)
    owner, _, leaf = name.rpartition(".")
    delattr(graph_module.get_submodule(owner), leaf)
    graph.set_constant(graph_module, name, result.values)
    graph.set_constant(graph_module, f"{name}_scale", result.scales)
    graph.set_constant(graph_module, f"{name}_zero_point", torch.zeros(len(result.scales), dtype=torch.int64))
    with graph_module.graph.inserting_before(next(iter(graph_module.graph.nodes))):
        stored, scales, zero_points = (
            graph_module.graph.get_attr(f"{name}{suffix}") for suffix in ("", "_scale", "_zero_point")
        )
        dequantized = graph_module.graph.call_function(
            graph.DEQUANTIZE_CHANNELS,
            (stored, scales, zero_points, 0, -WEIGHT_LIMIT, WEIGHT_LIMIT, torch.int8),
        )
    _copy_origin(layer, dequantized)
    for old in [node for node in graph_module.graph.nodes if node.op == "get_attr" and node.target == name]:
        if old is not stored:
            old.replace_all_uses_with(dequantized)


def _copy_origin(source: Node, new: Node) -> None:
    for key in ORIGIN:
        if key in source.meta:
            new.meta[key] = source.meta[key]
