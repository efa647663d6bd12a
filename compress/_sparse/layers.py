"""The layers whose weights can become sparse, and how their weights lie."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch.fx import GraphModule, Node

from edgepress import graph
from edgepress.graph import aten

TRANSPOSED = (aten.conv_transpose1d.default, aten.conv_transpose2d.input, aten.conv_transpose3d.input)


@dataclass(frozen=True)
class Layer:
    """A convolution or linear layer. `weight` is the dotted name of its parameter; `inputs_first` is how a
    transposed convolution lays it out, its `groups` one after another."""

    name: str
    type: str
    weight: str
    inputs_first: bool = False
    groups: int = 1

    def rows(self, weight: torch.Tensor) -> torch.Tensor:
        """The weight as outputs x inputs of one output x kernel positions."""
        if self.inputs_first:
            weight = weight.unflatten(0, (self.groups, -1)).transpose(1, 2).flatten(0, 1)
        return weight.reshape(*weight.shape[:2], -1)

    def from_rows(self, rows: torch.Tensor, shape: torch.Size) -> torch.Tensor:
        """The inverse of `rows`, for a weight of this shape."""
        if not self.inputs_first:
            return rows.reshape(shape)
        weight: torch.Tensor = rows.unflatten(0, (self.groups, -1)).transpose(1, 2).reshape(shape)
        return weight


@dataclass(frozen=True)
class Weights:
    """The weights of a network that can become sparse, in its graph, and of the layers that cannot, why."""

    layers: Mapping[Layer, torch.Tensor]
    reasons: Mapping[str, str]


def read_weights(graph_module: GraphModule) -> Weights:
    """All convolutions and linear layers with stored weights, each weight once; biases and norms are never among them."""
    layers: dict[Layer, torch.Tensor] = {}
    reasons: dict[str, str] = {}
    owners: dict[int, str] = {}
    for node in graph.operators(graph_module):
        name = graph.layer_name(node)
        if node.target not in graph.WEIGHTED:
            if any(tensor.ndim > 1 for tensor in _parameters(graph_module, node)):
                reasons[name] = f"{graph.op_name(node)} is no convolution and no linear layer"
            continue
        weight = graph.constant(graph_module, graph.arguments(node)["weight"])
        if weight is None or not weight.is_floating_point():
            reasons[name] = "its weight is computed, not stored"
        elif weight.data_ptr() not in owners:
            owners[weight.data_ptr()] = name
            layers[_layer(node)] = weight
        elif owners[weight.data_ptr()] != name:
            reasons[name] = f"it shares the weight of {owners[weight.data_ptr()]}"
    return Weights(layers, reasons)


def _layer(node: Node) -> Layer:
    arguments = graph.arguments(node)
    return Layer(
        graph.layer_name(node),
        graph.op_name(node),
        str(arguments["weight"].target),
        node.target in TRANSPOSED,
        arguments.get("groups", 1),
    )


def _parameters(graph_module: GraphModule, node: Node) -> Iterator[torch.Tensor]:
    for source in node.all_input_nodes:
        tensor = graph.constant(graph_module, source)
        if isinstance(tensor, torch.nn.Parameter):
            yield tensor
