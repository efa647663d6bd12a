"""Lets layers with integer weights compute in integers whose scale is found while the network runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgepress.convert._onnx_writing.stored import (
    StoredLayer,
    constant,
    drop_unread,
    put_in_place,
    stored_layers,
)

if TYPE_CHECKING:
    import onnx_ir

FLOAT = 1
"""ONNX's number of the type."""


def compute_dynamically(model: onnx_ir.Model) -> None:
    """Every layer becomes DynamicQuantizeLinear, an integer product, and the scales behind it, in place. One rounding
    of a tensor serves all that read it."""
    import onnx_ir

    rounded: dict[onnx_ir.Value, onnx_ir.Node] = {}
    for layer in stored_layers(model):
        source = layer.node.inputs[0]
        assert source is not None, "a layer reads something"
        made = []
        if source not in rounded:
            rounded[source] = onnx_ir.node("DynamicQuantizeLinear", [source], num_outputs=3)
            _named(rounded[source], f"{layer.node.name}/quantize", model)
            made.append(rounded[source])
        put_in_place(model, layer, [*made, *_product(model, layer, rounded[source])])
    drop_unread(model)


def _product(model: onnx_ir.Model, layer: StoredLayer, rounded: onnx_ir.Node) -> list[onnx_ir.Node]:
    import onnx_ir

    integers, scale, zero_point = rounded.outputs
    name = str(layer.node.name)
    if layer.convolves:
        product = _convolution(model, layer, integers, zero_point)
    else:
        weight = constant(model, f"{name}/integers", np.ascontiguousarray(layer.weight.T))
        product = onnx_ir.node("MatMulInteger", [integers, weight, zero_point])
    beside = [-1] + [1] * (layer.weight.ndim - 2) if layer.convolves else [-1]
    scales = constant(model, f"{name}/scales", layer.scales.astype(np.float32).reshape(beside))
    widened = onnx_ir.node("Cast", product.outputs, {"to": FLOAT})
    step = onnx_ir.node("Mul", [scale, scales])
    nodes = [product, widened, step, onnx_ir.node("Mul", [widened.outputs[0], step.outputs[0]])]
    if layer.bias is not None:
        bias = layer.bias
        if layer.convolves:
            assert bias.const_value is not None, "the bias of a convolution is stored"
            bias = constant(model, f"{name}/bias", bias.const_value.numpy().reshape(beside))
        nodes.append(onnx_ir.node("Add", [nodes[-1].outputs[0], bias]))
    for place, node in enumerate(nodes):
        _named(node, f"{name}/{node.op_type.lower()}_{place}", model)
    return nodes


def _convolution(
    model: onnx_ir.Model, layer: StoredLayer, integers: onnx_ir.Value, zero_point: onnx_ir.Value
) -> onnx_ir.Node:
    """ConvInteger with uint8 weights: ONNX Runtime's kernel for int8 ones is several times slower."""
    import onnx_ir

    zero = 8 if np.abs(layer.weight).max(initial=0) < 8 else 128
    shifted = (layer.weight.astype(np.int16) + zero).astype(np.uint8)
    weight = constant(model, f"{layer.node.name}/integers", shifted)
    shift = constant(model, f"{layer.node.name}/zero_point", np.array(zero, np.uint8))
    made = onnx_ir.node("ConvInteger", [integers, weight, zero_point, shift])
    made.attributes.update(layer.node.attributes)
    return made


def _named(node: onnx_ir.Node, name: str, model: onnx_ir.Model) -> None:
    """Names for the node and what it gives: the graph's own would be numbers."""
    node.name = name
    for place, output in enumerate(node.outputs):
        output.name = f"{name}/{place}"
