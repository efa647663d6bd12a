"""Says the int8 activations of a Q/DQ graph as a runtime wants them: shifted to uint8, or symmetric about zero."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import onnx_ir

QUANTIZE, DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"
SHIFT = 128
LARGEST_CODE = 127
"""Of symmetric int8. -128 stays unused, as in the weights."""

Code = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
"""From the scale and zero point of a tensor to those that it gets."""


def shift_activations_to_uint8(model: onnx_ir.Model) -> None:
    """Move every zero point of int8 activations by 128: no value changes. Weights stay int8."""
    _recode(model, _shifted)


def make_activations_symmetric(model: onnx_ir.Model) -> None:
    """Give every activation int8 with a zero point of 0, as TensorRT wants them, that spans what its codes did.

    Nothing is calibrated again: scale and zero point say which range was recorded. A range on one side of zero,
    behind a ReLU, gets twice the step.
    """
    _recode(model, _symmetric)


def _shifted(scale: np.ndarray, zero_point: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if zero_point.dtype != np.int8:
        return scale, zero_point
    return scale, (zero_point.astype(np.int16) + SHIFT).astype(np.uint8)


def _symmetric(scale: np.ndarray, zero_point: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if zero_point.dtype == np.int16:
        return scale, zero_point  # symmetric already
    codes = np.iinfo(zero_point.dtype)
    farthest = np.maximum(
        zero_point.astype(np.float64) - codes.min, codes.max - zero_point.astype(np.float64)
    )
    return (scale * farthest / LARGEST_CODE).astype(scale.dtype), np.zeros_like(zero_point, np.int8)


def _recode(model: onnx_ir.Model, code: Code) -> None:
    """Replace scale and zero point of each activation's QuantizeLinear and DequantizeLinear."""
    made: dict[tuple[str, str], tuple[onnx_ir.Value, onnx_ir.Value]] = {}
    for node in model.graph.all_nodes():
        if node.op_type not in (QUANTIZE, DEQUANTIZE) or len(node.inputs) < 3:
            continue
        scale, zero_point = node.inputs[1], node.inputs[2]
        if scale is None or zero_point is None or _is_weight(node):
            continue
        key = (str(scale.name), str(zero_point.name))
        if key not in made:
            made[key] = _recoded(model, scale, zero_point, code)
        node.replace_input_with(1, made[key][0])
        node.replace_input_with(2, made[key][1])
        if node.op_type == QUANTIZE and (dtype := made[key][1].dtype) is not None:
            node.outputs[0].dtype = dtype
    for name in {name for key in made for name in key}:
        if name in model.graph.initializers and not model.graph.initializers[name].uses():
            del model.graph.initializers[name]


def _is_weight(node: onnx_ir.Node) -> bool:
    """Whether the node dequantizes what is stored."""
    source = node.inputs[0]
    return node.op_type == DEQUANTIZE and source is not None and source.is_initializer()


def _recoded(
    model: onnx_ir.Model, scale: onnx_ir.Value, zero_point: onnx_ir.Value, code: Code
) -> tuple[onnx_ir.Value, onnx_ir.Value]:
    """The values to use in place of these two: the same ones where the code changes nothing."""
    assert scale.const_value is not None, "the exporter folds every scale into a constant"
    assert zero_point.const_value is not None, "the exporter folds every zero point into a constant"
    old = scale.const_value.numpy(), zero_point.const_value.numpy()
    new = code(*old)
    return (
        scale if new[0] is old[0] else _stored(model, f"{scale.name}/{zero_point.name}/scale", new[0]),
        zero_point if new[1] is old[1] else _stored(model, f"{zero_point.name}/{new[1].dtype}", new[1]),
    )


def _stored(model: onnx_ir.Model, name: str, array: np.ndarray) -> onnx_ir.Value:
    """The initializer of this name, made once."""
    import onnx_ir

    if name in model.graph.initializers:
        return model.graph.initializers[name]
    tensor = onnx_ir.Tensor(array, name=name)
    value = onnx_ir.Value(
        name=name, shape=tensor.shape, type=onnx_ir.TensorType(tensor.dtype), const_value=tensor
    )
    model.graph.register_initializer(value)
    return value
