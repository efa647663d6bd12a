"""Gives every int8 weight a zero point of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx_ir


def unshare_zero_points(model: onnx_ir.Model) -> None:
    """The exporter stores equal zero points once. ONNX Runtime's precise mode for x86 without VNNI
    (session.x64quantprecision) makes a uint8 twin of each under its name, and fails where two weights share one."""
    import onnx_ir

    for node in model.graph.all_nodes():
        weight = node.inputs[0] if node.op_type == "DequantizeLinear" else None
        if weight is None or not weight.is_initializer() or len(node.inputs) < 3:
            continue
        shared = node.inputs[2]
        if shared is None or shared.const_value is None:
            continue
        tensor = onnx_ir.Tensor(shared.const_value.numpy(), name=f"{weight.name}_zero_point")
        value = onnx_ir.Value(
            name=tensor.name, shape=tensor.shape, type=onnx_ir.TensorType(tensor.dtype), const_value=tensor
        )
        model.graph.register_initializer(value)
        node.replace_input_with(2, value)
        if not shared.uses():
            del model.graph.initializers[str(shared.name)]
