"""Asks an ONNX model TensorRT's published rules, without TensorRT."""

from __future__ import annotations

import onnx

from edgepress.convert._tensorrt import operators, placement
from edgepress.convert._tensorrt.graph import Graph, layer
from edgepress.convert._unsupported import UnsupportedOperator


def unsupported(model: onnx.ModelProto) -> tuple[UnsupportedOperator, ...]:
    """Every node that breaks a rule, by the user's layer."""
    graph = Graph(model)
    found = []
    for node in graph.nodes:
        if reason := operators.refused(node, graph) or placement.refused(node, graph):
            found.append(UnsupportedOperator(layer(node), node.op_type, reason))
    return tuple(found)


def quality(model: onnx.ModelProto) -> dict[str, int]:
    """What the manifest says of the layers: how many compute in int8, how many in float."""
    return placement.counts(Graph(model))
