"""Turns int8 activations of a Q/DQ graph into uint8: every zero point moves by 128, no value changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import onnx_ir

QUANTIZE, DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"
SHIFT = 128


def shift_activations_to_uint8(model: onnx_ir.Model) -> None:
    """Rewrite each activation's QuantizeLinear and DequantizeLinear; weights stay int8."""
    import onnx_ir

    shifted: dict[str, onnx_ir.Value] = {}
    for node in model.graph.all_nodes():
        is_activation = node.op_type == QUANTIZE or (
            node.op_type == DEQUANTIZE and not _is_constant(node.inputs[0])
        )
        zero_point = node.inputs[2] if is_activation else None
        if zero_point is not None and zero_point.dtype == onnx_ir.DataType.INT8:
            node.replace_input_with(2, _shifted(model, zero_point, shifted))
        if node.op_type == QUANTIZE:
            node.outputs[0].dtype = onnx_ir.DataType.UINT8
    for name in shifted:
        if not model.graph.initializers[name].uses():
            del model.graph.initializers[name]


def _is_constant(value: onnx_ir.Value | None) -> bool:
    return value is not None and value.is_initializer()


def _shifted(
    model: onnx_ir.Model, zero_point: onnx_ir.Value, shifted: dict[str, onnx_ir.Value]
) -> onnx_ir.Value:
    """The uint8 twin of an int8 zero point, made once."""
    import onnx_ir

    name = str(zero_point.name)
    if name not in shifted:
        assert zero_point.const_value is not None, "the exporter folds every zero point into a constant"
        moved = (zero_point.const_value.numpy().astype(np.int16) + SHIFT).astype(np.uint8)
        tensor = onnx_ir.Tensor(moved, name=f"{name}/uint8")
        value = onnx_ir.Value(
            name=tensor.name, shape=tensor.shape, type=onnx_ir.TensorType(tensor.dtype), const_value=tensor
        )
        model.graph.register_initializer(value)
        shifted[name] = value
    return shifted[name]
