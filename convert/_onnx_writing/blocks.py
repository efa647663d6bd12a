"""Lays weights with several scales an output as ONNX Runtime multiplies them without making them floats before."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgepress.convert._onnx_writing.stored import (
    DEQUANTIZE,
    constant,
    drop_unread,
    put_in_place,
    stored_layers,
)

if TYPE_CHECKING:
    import onnx_ir


def read_in_blocks(model: onnx_ir.Model) -> None:
    """Every such product becomes a MatMul with a matrix that has the inputs in front, dequantized block by block, which
    ONNX Runtime fuses (MatMulNBits), and an addition of the bias, in place."""
    import onnx_ir

    for layer in stored_layers(model):
        if layer.block_size is None:
            continue
        name = str(layer.node.name)
        weight = constant(model, f"{name}/integers", np.ascontiguousarray(layer.weight.T))
        scales = constant(model, f"{name}/scales", np.ascontiguousarray(layer.scales.T.astype(np.float32)))
        wide = onnx_ir.node(DEQUANTIZE, [weight, scales], {"axis": 0, "block_size": layer.block_size})
        nodes = [wide, onnx_ir.node("MatMul", [layer.node.inputs[0], wide.outputs[0]])]
        if layer.bias is not None:
            nodes.append(onnx_ir.node("Add", [nodes[-1].outputs[0], layer.bias]))
        for place, node in enumerate(nodes):
            node.name = f"{name}/{node.op_type.lower()}"
            node.outputs[0].name = f"{name}/{place}"
        put_in_place(model, layer, nodes)
    drop_unread(model)
