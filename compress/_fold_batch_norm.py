"""Folds a batch normalisation into the convolution or linear layer before it (Jacob et al., 2018, section 3.2)."""

from __future__ import annotations

from typing import Any

from torch.fx import GraphModule, Node

from edgepress import graph
from edgepress.graph import aten

OUTPUT_AXIS: dict[Any, int] = {
    aten.conv_transpose1d.default: 1,
    aten.conv_transpose2d.input: 1,
    aten.conv_transpose3d.input: 1,
}
"""The weight's axis of output channels where it is not 0."""


def fold_batch_norms(graph_module: GraphModule) -> tuple[str, ...]:
    """Fold in place wherever the network computes the same without the batch norm; the names of the layers changed.

    A batch norm stays whose input is no layer's output, is read elsewhere too, comes from a layer whose
    weight another layer shares, or has its channels on another axis than the batch norm's.
    """
    folded = []
    for node in list(graph.operators(graph_module)):
        if node.target is aten.batch_norm.default and _can_fold(graph_module, node):
            layer = node.args[0]
            assert isinstance(layer, Node)
            _fold(graph_module, layer, node)
            folded.append(graph.layer_name(layer))
    graph_module.graph.eliminate_dead_code()
    return tuple(folded)


def _can_fold(graph_module: GraphModule, norm: Node) -> bool:
    layer, statistics = norm.args[0], graph.arguments(norm)
    if not isinstance(layer, Node) or layer.target not in graph.WEIGHTED or len(layer.users) > 1:
        return False
    if statistics["training"] or graph.constant(graph_module, statistics["running_mean"]) is None:
        return False
    weight = graph.constant(graph_module, graph.arguments(layer)["weight"])
    if weight is None or len(graph.shape(layer)) != weight.dim():
        return False  # a linear layer over the last of three axes: batch norm works on the second
    groups = graph.arguments(layer).get("groups", 1)
    return (layer.target not in OUTPUT_AXIS or groups == 1) and all(
        node is None or graph.readers(graph_module, node) == 1
        for node in (graph.arguments(layer)["weight"], graph.arguments(layer)["bias"])
    )


def _fold(graph_module: GraphModule, layer: Node, norm: Node) -> None:
    weight_node, bias_node = graph.arguments(layer)["weight"], graph.arguments(layer)["bias"]
    weight = graph.constant(graph_module, weight_node)
    assert weight is not None
    factor, shift = graph.batch_norm_affine(graph_module, norm)
    axis = OUTPUT_AXIS.get(layer.target, 0)
    folded = weight.detach().double() * factor.view([-1 if i == axis else 1 for i in range(weight.dim())])
    bias = graph.constant(graph_module, bias_node)
    shift = shift if bias is None else shift + bias.detach().double() * factor
    graph.set_constant(graph_module, str(weight_node.target), folded.to(weight.dtype))
    if bias is None:
        graph.add_bias(graph_module, layer, shift.to(weight.dtype))
    else:
        graph.set_constant(graph_module, str(bias_node.target), shift.to(weight.dtype))
    norm.replace_all_uses_with(layer)
