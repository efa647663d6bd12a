"""Brings ncnn's layers and the user's together: by name where ncnn lacks one, and by order or content where both have weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from torch.fx import GraphModule, Node

from edgepress import graph
from edgepress.convert._ncnn.graph import NcnnLayer, parse, written
from edgepress.convert._ncnn.pnnx import Converted
from edgepress.convert._unsupported import UnsupportedOperator

Pairs = list[tuple[NcnnLayer, Node]]
"""Layers of the file and those of the user that they are."""

WEIGHTED = {
    "Convolution": 6,
    "ConvolutionDepthWise": 6,
    "Convolution1D": 6,
    "ConvolutionDepthWise1D": 6,
    "Convolution3D": 6,
    "ConvolutionDepthWise3D": 6,
    "Deconvolution": 6,
    "DeconvolutionDepthWise": 6,
    "Deconvolution1D": 6,
    "Deconvolution3D": 6,
    "InnerProduct": 2,
}
"""ncnn's layers with a weight of their own, and the parameter that holds how many numbers it has."""


def unknown(text: str, module: GraphModule) -> tuple[UnsupportedOperator, ...]:
    """The layers that pnnx has left in PyTorch's words, for ncnn has none for them."""
    import ncnn

    left = list(graph.operators(module))
    found = []
    for layer in parse(text):
        if ncnn.layer_to_index(layer.type) >= 0 or layer.type == "pnnx.Expression":
            continue
        reason = f"ncnn has no layer for {layer.type}."
        name = layer.type.replace("::", ".").rpartition(".")[2]
        node = next((node for node in left if _is_called(node, name)), None)
        if node is None:
            found.append(UnsupportedOperator("", layer.type, reason))
        else:
            left.remove(node)
            found.append(UnsupportedOperator.at(node, reason))
    return tuple(found)


def _is_called(node: Node, name: str) -> bool:
    """Whether pnnx, which speaks of torch.fft.rfft and Tensor.slice, means this operator (fft_rfft, slice)."""
    return f"_{graph.op_name(node).strip('_')}".endswith(f"_{name.strip('_').lower()}")


def named_as_in_program(text: str, pairs: Pairs) -> str:
    """The graph with its weighted layers under the user's names; as it is where these are not one for each."""
    names = {layer.name: graph.layer_name(node) for layer, node in pairs}
    if len(set(names.values())) < len(names) or any(" " in name for name in names.values()):
        return text
    return written(
        dataclasses.replace(layer, name=names.get(layer.name, layer.name)) for layer in parse(text)
    )


def weighted_pairs(made: Converted, module: GraphModule) -> Pairs:
    """ncnn's weighted layers and the user's, both in the order of the file. None at all where their sizes do not agree
    one by one.

    pnnx keeps the order of execution, but not always of branches that do not wait for each other.
    """
    found = [layer for layer in parse(made.graph) if layer.type in WEIGHTED]
    nodes = [node for node in graph.operators(module) if node.target in graph.WEIGHTED]
    sizes = [layer.number(WEIGHTED[layer.type]) for layer in found]
    places = _places(made.weights, module, nodes)
    by_content = sorted(nodes, key=places.__getitem__) if min(places.values(), default=0) >= 0 else nodes
    for ordered in (by_content, nodes):
        if [_weight_size(node) for node in ordered] == sizes:
            return list(zip(found, ordered, strict=True))
    return []


def _places(weights: bytes, module: GraphModule, nodes: Sequence[Node]) -> dict[Node, int]:
    """Where each layer's weight lies in the file, with the bias behind it; -1 where it does not. What several layers read
    lies there once for each, in their order."""
    ends: dict[bytes, int] = {}
    found = {}
    for node in nodes:
        stored = _stored(module, node)
        found[node] = place = weights.find(stored, ends.get(stored, 0))
        ends[stored] = place + len(stored)
    return found


def _stored(module: GraphModule, node: Node) -> bytes:
    """The layer's weight and bias as a float file holds them, if nothing was folded into them."""
    parts = graph.weight_node(node), graph.arguments(node)["bias"]
    values = [graph.constant(module, part) for part in parts]
    return b"".join(value.detach().float().numpy().tobytes() for value in values if value is not None)


def _weight_size(node: Node) -> int:
    weight = graph.weight_node(node)
    return int(weight.meta["val"].numel()) if weight is not None else -1
