"""What the rules ask of an ONNX graph."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper


class Graph:
    """The nodes, constants and producers of a model, its inner graphs (of If, Loop and Scan) included."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.nodes = tuple(_nodes(model.graph))
        self._stored = {tensor.name: tensor for graph in _graphs(model.graph) for tensor in graph.initializer}
        self.producers = {name: node for node in self.nodes for name in node.output if name}

    def constant(self, name: str) -> np.ndarray | None:
        """What is stored under the name; None for what is computed."""
        if name in self._stored:
            return numpy_helper.to_array(self._stored[name])
        node = self.producers.get(name)
        if node is None or node.op_type != "Constant":
            return None
        value = onnx.helper.get_attribute_value(node.attribute[0])
        return numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else np.asarray(value)

    def attribute(self, node: onnx.NodeProto, name: str, default: Any) -> Any:
        """The attribute's value, a text decoded; `default` where the node has none."""
        for attribute in node.attribute:
            if attribute.name == name:
                value = onnx.helper.get_attribute_value(attribute)
                return value.decode() if isinstance(value, bytes) else value
        return default


def layer(node: onnx.NodeProto) -> str:
    """The user's layer: our own files name a node `<layer>/<type>`."""
    name = str(node.name or (node.output[0] if node.output else node.op_type))
    owner, _, kind = name.rpartition("/")
    return owner if kind.startswith(node.op_type) else name


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            inner = [attribute.g] if attribute.type == onnx.AttributeProto.GRAPH else attribute.graphs
            for each in inner:
                yield from _graphs(each)


def _nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for each in _graphs(graph):
        yield from each.node
