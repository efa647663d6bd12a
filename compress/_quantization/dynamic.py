"""Lets layers read integers whose scale is found while the network runs."""

from __future__ import annotations

import operator
from collections.abc import Iterable

import torch
from torch.fx import GraphModule, Node

from edgepress import graph
from edgepress.compress._quantization.insert import copy_origin
from edgepress.compress._quantization.ranges import HIGHEST, LOWEST

SMALLEST_STEP = float(torch.finfo(torch.float32).eps)
"""Of a tensor that is all but zero."""


def insert_dynamic(graph_module: GraphModule, layers: Iterable[Node]) -> None:
    """What each layer multiplies with its weight goes through integers of 8 bits, in place: one rounding a tensor,
    however many layers read it."""
    rounded: dict[Node, Node] = {}
    for layer in layers:
        source = graph.arguments(layer)["input"]
        if source not in rounded:
            rounded[source] = _rounded(graph_module, source, layer)
        layer.replace_input_with(source, rounded[source])


def _rounded(graph_module: GraphModule, source: Node, layer: Node) -> Node:
    code = (LOWEST, HIGHEST, torch.int8)
    call = graph_module.graph.call_function
    with graph_module.graph.inserting_before(layer):
        found = call(graph.FIND_SCALE, (source, LOWEST, HIGHEST, SMALLEST_STEP, torch.int8))
        scale, zero_point = (call(operator.getitem, (found, place)) for place in (0, 1))
        quantized = call(graph.QUANTIZE_DYNAMIC, (source, scale, zero_point, *code))
        made = call(graph.DEQUANTIZE_DYNAMIC, (quantized, scale, zero_point, *code))
    for node in (found, scale, zero_point, quantized, made):
        copy_origin(layer, node)
    return made
