"""A float ONNX model in half precision, with inputs and outputs as they were."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir

from edgepress.errors import UnsupportedModel

FLOAT, HALF = onnx_ir.DataType.FLOAT, onnx_ir.DataType.FLOAT16
LARGEST_HALF = 65504.0

STAY_FLOAT = {"Resize": (1, 2), "Upsample": (1,)}
"""Inputs that ONNX has in float32 whatever the others are: regions and scales."""


def halved(model: onnx.ModelProto) -> onnx.ModelProto:
    """Weights, constants and every value between the inputs and the outputs in float16.

    TensorRT computes in the types that the network states, so stating them is what asks for half precision. Numbers
    beyond float16's range become its largest. Raises UnsupportedModel for a network whose types then disagree.
    """
    ir = onnx_ir.from_proto(model)
    kept = _float_inputs(ir)
    for name, value in list(ir.graph.initializers.items()):
        if name not in kept and value.const_value is not None and value.dtype == FLOAT:
            value.const_value = onnx_ir.Tensor(_half(value.const_value.numpy()), name=name)
            value.dtype = HALF
    for node in list(ir.graph.all_nodes()):
        _halve(node)
    _cast_ends(ir)
    made = onnx_ir.to_proto(ir)
    try:
        onnx.checker.check_model(made, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise UnsupportedModel(
            f"This network cannot be expressed in half precision: {' '.join(str(error).split())[:300]}",
            hint="weights=float32",
        ) from error
    return made


def _half(array: np.ndarray) -> np.ndarray:
    finite = np.clip(array, -LARGEST_HALF, LARGEST_HALF)
    return np.where(np.isfinite(array), finite, array).astype(np.float16)


def _float_inputs(ir: onnx_ir.Model) -> set[str]:
    """The names of stored values that stay in float32."""
    return {
        str(given.name)
        for node in ir.graph.all_nodes()
        for place in STAY_FLOAT.get(node.op_type, ())
        if place < len(node.inputs) and (given := node.inputs[place]) is not None
    }


def _halve(node: onnx_ir.Node) -> None:
    """What the node makes, and the attributes that say so."""
    for value in node.outputs:
        if value.dtype == FLOAT:
            value.dtype = HALF
    for name in ("to", "dtype"):
        if name in node.attributes and node.attributes[name].value == int(FLOAT):
            node.attributes[name] = onnx_ir.AttrInt64(name, int(HALF))
    for name in ("value_float", "value_floats"):
        if name in node.attributes:
            numbers = np.asarray(node.attributes.pop(name).value, np.float32)
            node.attributes["value"] = onnx_ir.AttrTensor("value", onnx_ir.Tensor(_half(numbers)))
    if node.op_type == "ConstantOfShape" and "value" not in node.attributes:
        node.attributes["value"] = onnx_ir.AttrTensor("value", onnx_ir.Tensor(np.zeros(1, np.float16)))
    given = node.attributes.get("value")
    if given is not None and isinstance(given.value, onnx_ir.TensorProtocol) and given.value.dtype == FLOAT:
        node.attributes["value"] = onnx_ir.AttrTensor("value", onnx_ir.Tensor(_half(given.value.numpy())))


def _cast_ends(ir: onnx_ir.Model) -> None:
    """The user's arrays stay float32."""
    for value in ir.graph.inputs:
        if value.dtype == FLOAT:
            readers = [(node, place) for node, place in value.uses()]
            cast = _cast(value, HALF)
            ir.graph.insert_before(ir.graph[0], cast)
            for node, place in readers:
                node.replace_input_with(place, cast.outputs[0])
    for place, value in enumerate(list(ir.graph.outputs)):
        if value.dtype == HALF:
            cast = _cast(value, FLOAT)
            name, value.name = value.name, f"{value.name}/half"
            cast.outputs[0].name = name
            ir.graph.append(cast)
            ir.graph.outputs[place] = cast.outputs[0]


def _cast(value: onnx_ir.Value, dtype: onnx_ir.DataType) -> onnx_ir.Node:
    cast = onnx_ir.node("Cast", [value], {"to": int(dtype)}, name=f"{value.name}/Cast")
    cast.outputs[0].name = f"{value.name}/{dtype.name.lower()}"
    cast.outputs[0].shape, cast.outputs[0].type = value.shape, onnx_ir.TensorType(dtype)
    return cast
