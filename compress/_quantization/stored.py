"""Weights alone as integers: nothing is known of what they are multiplied with, and activations stay as they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
from torch.fx import GraphModule, Node

from edgepress import graph
from edgepress.compress._quantization.plan import LeftInFloat, Skipped
from edgepress.compress._quantization.ranges import Range
from edgepress.compress._quantization.weights import QuantizedWeight, WeightOptions, quantize_weight
from edgepress.errors import UnsupportedModel
from edgepress.graph import aten
from edgepress.history import Value

ANY_INPUT = Range(0.0, 1e9)
"""Stands for what a layer reads where that stays in float: no scale has to grow for the sake of an int32 bias."""

MATRICES = (aten.linear.default, aten.embedding.default)
"""Of these the weight is a matrix, in whose rows neighbours can share a scale."""

STORES = (aten.conv1d.default, aten.conv2d.default, aten.conv2d.padding, *MATRICES)
"""Operators whose weight has its outputs in front, one scale for each."""


@dataclass(frozen=True)
class StoredPlan:
    """The first reader of every weight that becomes integers, in the order of execution, and what stays in float."""

    layers: tuple[Node, ...]
    left_in_float: tuple[LeftInFloat, ...]

    @classmethod
    def of(cls, graph_module: GraphModule, skipped: Skipped) -> StoredPlan:
        """Raises UnsupportedModel when there is no weight to quantize."""
        found: dict[str, Node] = {}
        left = []
        for node in graph.operators(graph_module):
            if node.target not in (*graph.WEIGHTED, *MATRICES):
                continue
            if reason := _reason_against(graph_module, node, skipped):
                left.append(LeftInFloat(graph.layer_name(node), graph.op_name(node), reason))
            else:
                found.setdefault(str(_weight(node).target), node)
        if not found:
            raise UnsupportedModel(
                "No weight of this network can be quantized to integers.",
                where="; ".join(f"{each.layer}: {each.reason}" for each in left[:4]),
                hint="weights of convolutions, linear layers and embeddings can, where no rule keeps them in float",
            )
        return cls(tuple(found.values()), tuple(left))

    def results(self, weights: Sequence[QuantizedWeight]) -> dict[str, Value]:
        """What the history says about it. `weight_bytes` is what integers and scales need, packed."""
        return {
            "layers": len(self.layers),
            "weight_bytes": sum(map(_packed_bytes, weights)),
            "left_in_float": [asdict(left) for left in self.left_in_float],
        }


def rounded_alone(
    graph_module: GraphModule, layer: Node, options: WeightOptions, group_size: int | None
) -> QuantizedWeight:
    """Each weight to the nearest integer; with one scale for every `group_size` inputs of an output, where it is given."""
    weight = graph.constant(graph_module, _weight(layer))
    assert weight is not None, "the plan looked for it"
    if group_size is None:
        return quantize_weight(weight, None, ANY_INPUT, options)
    made = quantize_weight(weight.reshape(-1, group_size), None, ANY_INPUT, options)
    values, scales = made.values.reshape(weight.shape), made.scales.reshape(len(weight), -1)
    return QuantizedWeight(values, scales, made.limit)


def can_group(graph_module: GraphModule, layer: Node, group_size: int | None) -> bool:
    """Whether the layer's weight is a matrix whose rows fall into groups of this size."""
    weight = graph.constant(graph_module, _weight(layer))
    assert weight is not None, "the plan looked for it"
    return group_size is not None and layer.target in MATRICES and weight.shape[1] % group_size == 0


def _packed_bytes(made: QuantizedWeight) -> int:
    bits = made.limit.bit_length() + 1
    return -(-made.values.numel() * bits // 8) + 4 * made.scales.numel()


def _reason_against(graph_module: GraphModule, node: Node, skipped: Skipped) -> str:
    """Why the operator's weight stays in float; empty where it does not."""
    if skipped(node):
        return "a rule says so"
    if node.target not in STORES:
        return "its weight has its inputs in front"
    weight = graph.constant(graph_module, graph.weight_node(node))
    if weight is None or weight.dtype != torch.float32:
        return "its weight is not a stored float32 tensor"
    return ""


def _weight(node: Node) -> Node:
    weight = graph.weight_node(node)
    assert weight is not None, "the plan looked for it"
    return weight
