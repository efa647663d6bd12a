"""Folds a factor behind a convolution or linear layer into it: a layer scale (Touvron et al., 2021, Going Deeper with Image
Transformers), or the number by which a residual branch is made smaller."""

from __future__ import annotations

import torch
from torch.fx import GraphModule, Node

from edgepress import graph
from edgepress.compress._fold_batch_norm import OUTPUT_AXIS
from edgepress.graph import aten

HANDS_ON = frozenset({"dropout", "contiguous", "clone", "alias", "detach"})
"""Operators that stand between a layer and its factor and change no value."""

RESHAPING = frozenset({"view", "reshape", "unsqueeze"})
"""Operators that bring a stored factor into the shape in which it is multiplied."""


def fold_factors(graph_module: GraphModule) -> tuple[str, ...]:
    """Fold in place wherever a product with stored numbers, one for each channel or one for all, is the only reader of a
    layer whose weight is its own; the names of the layers changed."""
    folded = []
    for node in list(graph.operators(graph_module)):
        if node.target is aten.mul.Tensor and len(node.args) == 2:
            first, second = node.args
            layer = _fold(graph_module, node, first, second) or _fold(graph_module, node, second, first)
            folded += [graph.layer_name(layer)] if layer is not None else []
    graph_module.graph.eliminate_dead_code()
    return tuple(folded)


def _fold(graph_module: GraphModule, product: Node, data: object, factor: object) -> Node | None:
    """The layer into which `factor` went, if it could."""
    values = _stored(graph_module, factor)
    if values is None or not isinstance(data, Node) or _stored(graph_module, data) is not None:
        return None
    layer, axes = _layer_behind(data)
    if layer is None or not _has_own_weights(graph_module, layer):
        return None
    channels = axes.index(1 if layer.target in graph.CONVOLUTIONS else len(axes) - 1)
    lies_along = [1] * (len(axes) - values.ndim) + list(values.shape)
    if len(lies_along) > len(axes) or any(n > 1 for axis, n in enumerate(lies_along) if axis != channels):
        return None
    for name, axis in (("weight", OUTPUT_AXIS.get(layer.target, 0)), ("bias", 0)):
        stored = graph.arguments(layer)[name]
        value = graph.constant(graph_module, stored)
        if value is not None:
            spread = [-1 if other == axis else 1 for other in range(value.ndim)]
            scaled = value.detach().double() * values.detach().double().reshape(spread)
            graph.set_constant(graph_module, str(stored.target), scaled.to(value.dtype))
    product.replace_all_uses_with(data)
    return layer


def _layer_behind(node: Node) -> tuple[Node | None, list[int]]:
    """The layer that `node` hands on, and of each axis there is now which one of the layer's output it was."""
    axes = list(range(node.meta["val"].ndim))
    while len(node.users) == 1 and node.op == "call_function" and node.target not in graph.WEIGHTED:
        moved = list(range(len(axes)))
        if graph.op_name(node) == "permute":
            moved = [axis % len(axes) for axis in graph.arguments(node)["dims"]]
        elif graph.op_name(node) == "transpose":
            first, second = graph.arguments(node)["dim0"], graph.arguments(node)["dim1"]
            moved[first], moved[second] = moved[second], moved[first]
        elif graph.op_name(node) not in HANDS_ON:
            break
        axes = [moved[axis] for axis in axes]
        node = node.all_input_nodes[0]
    is_layer = node.target in graph.WEIGHTED and len(node.users) == 1
    return (node if is_layer else None), axes


def _has_own_weights(graph_module: GraphModule, layer: Node) -> bool:
    """Whether all that is stored for the layer is, and nothing else reads it."""
    arguments = graph.arguments(layer)
    return not (layer.target in OUTPUT_AXIS and arguments["groups"] > 1) and all(
        node is None or graph.readers(graph_module, node) == 1
        for node in (arguments["weight"], arguments["bias"])
    )


def _stored(graph_module: GraphModule, value: object) -> torch.Tensor | None:
    """The numbers behind what multiplies, as they are multiplied."""
    if isinstance(value, int | float):
        return torch.tensor(float(value))
    if isinstance(value, Node) and value.op == "call_function" and graph.op_name(value) in RESHAPING:
        inner = _stored(graph_module, value.args[0])
        return None if inner is None else graph.computed(value, lambda _: inner)
    return graph.constant(graph_module, value)
