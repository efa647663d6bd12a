"""The layers of an ONNX graph whose weights are stored as integers, found and rewritten."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import onnx_ir

DEQUANTIZE = "DequantizeLinear"
LAYERS = ("Conv", "Gemm", "MatMul")


@dataclass(frozen=True, eq=False)
class StoredLayer:
    """A layer's `node`; its integer `weight`, outputs first, with `scales`, one an output or several in a row; its
    `bias` where it has one; and whether it `convolves`."""

    node: onnx_ir.Node
    weight: np.ndarray
    scales: np.ndarray
    bias: onnx_ir.Value | None

    @property
    def convolves(self) -> bool:
        return self.node.op_type == "Conv"

    @property
    def block_size(self) -> int | None:
        """How many inputs share a scale; None where all do."""
        return None if self.scales.ndim == 1 else self.weight.shape[1] // self.scales.shape[1]


def stored_layers(model: onnx_ir.Model) -> Iterator[StoredLayer]:
    """Convolutions and products with a matrix, as PyTorch's exporter writes them."""
    for node in list(model.graph):
        if node.op_type not in LAYERS:
            continue
        source, transposed = node.inputs[1], _flag(node, "transB")
        maker = source.producer() if source is not None else None
        if maker is not None and maker.op_type == "Transpose":
            maker, transposed = _producer(maker), True
        if maker is None or maker.op_type != DEQUANTIZE or not _is_stored(maker):
            continue
        if node.op_type != "Conv" and not transposed:
            continue  # a product that the user wrote: its weight has the inputs in front
        weight, scales = (numbers(maker.inputs[place]) for place in (0, 1))
        yield StoredLayer(node, weight, scales, node.inputs[2] if len(node.inputs) > 2 else None)


def rounds_activations(model: onnx_ir.Model) -> bool:
    """Whether ONNX Runtime will multiply integers somewhere though activations are floats: a MatMul of these with stored
    weights becomes MatMulNBits, which by default rounds what it reads to 8 bits, each row by itself."""
    for node in model.graph:
        maker = node.inputs[1].producer() if node.op_type == "MatMul" and node.inputs[1] is not None else None
        if maker is not None and maker.op_type == "Transpose":
            maker = _producer(maker)
        if maker is not None and maker.op_type == DEQUANTIZE and not _is_computed(maker):
            return True
    return False


def numbers(value: onnx_ir.Value | None) -> np.ndarray:
    assert value is not None, "the exporter names every input"
    assert value.const_value is not None, "and folds what is stored into constants"
    found: np.ndarray = value.const_value.numpy()
    return found


def constant(model: onnx_ir.Model, name: str, array: np.ndarray) -> onnx_ir.Value:
    """A new initializer."""
    import onnx_ir

    tensor = onnx_ir.Tensor(array, name=name)
    value = onnx_ir.Value(
        name=name, shape=tensor.shape, type=onnx_ir.TensorType(tensor.dtype), const_value=tensor
    )
    model.graph.register_initializer(value)
    return value


def put_in_place(model: onnx_ir.Model, layer: StoredLayer, nodes: list[onnx_ir.Node]) -> None:
    """Let `nodes`, of which the last gives the layer's output, take the layer's place and name."""
    from onnx_ir.convenience import replace_nodes_and_values

    nodes[-1].name = layer.node.name
    old, new = layer.node.outputs[0], nodes[-1].outputs[0]
    new.shape, new.type = old.shape, old.type
    replace_nodes_and_values(model.graph, layer.node, [layer.node], nodes, [old], [new])


def drop_unread(model: onnx_ir.Model) -> None:
    from onnx_ir.passes.common import RemoveUnusedNodesPass

    RemoveUnusedNodesPass()(model)


def _producer(node: onnx_ir.Node) -> onnx_ir.Node | None:
    source = node.inputs[0]
    return source.producer() if source is not None else None


def _is_computed(node: onnx_ir.Node) -> bool:
    """Whether what the node dequantizes depends on the network's input: unpacking what is stored does not."""
    maker = _producer(node)
    return not _is_stored(node) and (maker is None or maker.op_type != "Cast" or not _is_stored(maker))


def _is_stored(node: onnx_ir.Node) -> bool:
    source = node.inputs[0]
    return source is not None and source.is_initializer()


def _flag(node: onnx_ir.Node, name: str) -> bool:
    found = node.attributes.get(name)
    return found is not None and bool(found.as_int())
