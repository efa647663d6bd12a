"""Takes a quantized ONNX graph apart: the same network in float, and the scales that it had."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from edgepress.convert._onnx_writing.activations import DEQUANTIZE, QUANTIZE, SHIFT

if TYPE_CHECKING:
    import onnx_ir

LEAST = -128
FUSED = ("Relu", "Clip")
"""Activations that stand between a layer and its quantized output: runtimes fuse them into the layer."""


@dataclass(frozen=True)
class ActivationScale:
    """A tensor's code: real = scale * (integer - zero_point), with integers of int8."""

    scale: float
    zero_point: int

    @property
    def least(self) -> float:
        """The least value that it can say."""
        return (LEAST - self.zero_point) * self.scale


@dataclass(frozen=True)
class WeightedLayer:
    """A quantized layer: its node, the value that this gives, what it `reads` and, behind its activation, `gives`,
    the codes of both, and the scales of its weight, one an output channel or a single one."""

    name: str
    output_name: str
    reads: str
    gives: str
    input: ActivationScale
    output: ActivationScale
    weight_scales: np.ndarray


@dataclass
class _Codes:
    """By the name of the value in the float graph."""

    activations: dict[str, ActivationScale] = field(default_factory=dict)
    weights: dict[str, np.ndarray] = field(default_factory=dict)


def float_twin(model: onnx_ir.Model) -> list[WeightedLayer]:
    """Make the graph float in place: weights are what their integers stand for. Returns the layers of which the
    weight, the input and the output were quantized.
    """
    from onnx_ir.passes.common import RemoveUnusedNodesPass

    codes = _Codes()
    for node in list(model.graph):
        if node.op_type != DEQUANTIZE:
            continue
        source = node.inputs[0]
        assert source is not None, "there is something to dequantize"
        if source.is_initializer():
            _store_real(model, node, codes)
        elif (quantize := source.producer()) is not None and quantize.op_type == QUANTIZE:
            _join(model, quantize, node, codes)
    RemoveUnusedNodesPass()(model)
    return [layer for node in model.graph if (layer := _layer(node, codes)) is not None]


def code_of(node: onnx_ir.Node) -> ActivationScale:
    """The code of a QuantizeLinear of an activation, of uint8 or int8."""
    zero_point = _numbers(node.inputs[2])
    shift = SHIFT if zero_point.dtype == np.uint8 else 0
    return ActivationScale(float(_numbers(node.inputs[1])), int(zero_point) - shift)


def _store_real(model: onnx_ir.Model, node: onnx_ir.Node, codes: _Codes) -> None:
    import onnx_ir

    integers, scales = (_numbers(node.inputs[place]) for place in (0, 1))
    shape = [1] * integers.ndim
    if scales.ndim:
        axis = node.attributes.get("axis")
        shape[axis.as_int() if axis is not None else 1] = -1
    real = integers.astype(np.float32) * scales.astype(np.float32).reshape(shape)
    tensor = onnx_ir.Tensor(real, name=f"{node.outputs[0].name}/real")
    value = onnx_ir.Value(
        name=tensor.name, shape=tensor.shape, type=onnx_ir.TensorType(tensor.dtype), const_value=tensor
    )
    model.graph.register_initializer(value)
    node.outputs[0].replace_all_uses_with(value)
    codes.weights[str(value.name)] = scales.reshape(-1)


def _join(model: onnx_ir.Model, quantize: onnx_ir.Node, node: onnx_ir.Node, codes: _Codes) -> None:
    """Let the readers of the dequantized value read what was quantized."""
    source, result = quantize.inputs[0], node.outputs[0]
    assert source is not None, "there is something to quantize"
    code = code_of(quantize)
    if result.is_graph_output():
        _hand_on_name(model, source, result)
    result.replace_all_uses_with(source)
    codes.activations[str(source.name)] = code


def _hand_on_name(model: onnx_ir.Model, source: onnx_ir.Value, result: onnx_ir.Value) -> None:
    """What was quantized becomes the network's output in place of `result`; by a copy where it is one already."""
    import onnx_ir

    name, place = result.name, list(model.graph.outputs).index(result)
    result.name = f"{name}/quantized"
    if source.is_graph_input() or source.is_graph_output():
        copy = onnx_ir.node("Identity", [source])
        copy.outputs[0].shape, copy.outputs[0].type = source.shape, source.type
        model.graph.append(copy)
        source = copy.outputs[0]
    source.name = name
    model.graph.outputs[place] = source


def _layer(node: onnx_ir.Node, codes: _Codes) -> WeightedLayer | None:
    weight = node.inputs[1] if len(node.inputs) > 1 else None
    scales = codes.weights.get(str(weight.name)) if weight is not None else None
    read = node.inputs[0] if scales is not None else None
    source = codes.activations.get(str(read.name)) if read is not None else None
    if read is None or scales is None or source is None:
        return None
    output = node.outputs[0]
    while str(output.name) not in codes.activations:
        readers = [use.node for use in output.uses()]
        if len(readers) != 1 or readers[0].op_type not in FUSED:
            return None
        output = readers[0].outputs[0]
    return WeightedLayer(
        name=str(node.name),
        output_name=str(node.outputs[0].name),
        reads=str(read.name),
        gives=str(output.name),
        input=source,
        output=codes.activations[str(output.name)],
        weight_scales=scales,
    )


def _numbers(value: onnx_ir.Value | None) -> np.ndarray:
    assert value is not None, "our writer gives every zero point"
    assert value.const_value is not None, "and stores it with the scales"
    numbers: np.ndarray = value.const_value.numpy()
    return numbers
