"""TensorRT's documented rules of explicit quantization: where QuantizeLinear and DequantizeLinear may stand, and how."""

from __future__ import annotations

import numpy as np
import onnx

from edgepress.convert._tensorrt.graph import Graph

QUANTIZE, DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"
WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
WEIGHT, BIAS = 1, 2


def refused(node: onnx.NodeProto, graph: Graph) -> str:
    """Which rule the node breaks, or an empty text."""
    if node.op_type in (QUANTIZE, DEQUANTIZE):
        return _code(node, graph)
    return _weighted(node, graph) if node.op_type in WEIGHTED else ""


def counts(graph: Graph) -> dict[str, int]:
    """How many weighted layers compute in int8, which takes codes on both sides, and how many in float."""
    weighted = [node for node in graph.nodes if node.op_type in WEIGHTED]
    int8 = sum(all(_dequantized(name, graph) for name in node.input[:2]) for node in weighted)
    return {"int8_layers": int8, "float_layers": len(weighted) - int8}


def _code(node: onnx.NodeProto, graph: Graph) -> str:
    """What is wrong with scale and zero point."""
    scale = graph.constant(node.input[1])
    zero_point = (
        graph.constant(node.input[2]) if len(node.input) > 2 and node.input[2] else np.zeros(1, np.int8)
    )
    if scale is None or zero_point is None:
        return "TensorRT wants scale and zero point stored, not computed."
    if zero_point.dtype != np.int8 or zero_point.any():
        return f"TensorRT quantizes to int8 about zero; here it is {zero_point.dtype} about {zero_point.flat[0]}."
    if not (np.isfinite(scale) & (scale > 0)).all():
        return "TensorRT wants scales above zero."
    weight = graph.constant(node.input[0])
    if scale.size > 1 and weight is None:
        return "TensorRT quantizes activations with one scale a tensor, not one a channel."
    return ""


def _weighted(node: onnx.NodeProto, graph: Graph) -> str:
    """What is wrong with the codes of a layer's weight and bias."""
    if node.op_type != "MatMul" and len(node.input) > BIAS and _dequantized(node.input[BIAS], graph):
        return "TensorRT wants the bias in float, without a code."
    dequantize = graph.producers.get(node.input[WEIGHT])
    if dequantize is None or dequantize.op_type != DEQUANTIZE:
        return ""
    scale, weight = graph.constant(dequantize.input[1]), graph.constant(dequantize.input[0])
    if scale is None or weight is None or scale.size == 1:
        return ""
    axis = graph.attribute(dequantize, "axis", 1) % weight.ndim
    wanted = _output_axis(node, graph, weight.ndim)
    if axis != wanted or scale.size != weight.shape[axis]:
        return f"TensorRT wants one scale an output channel (axis {wanted}), not along axis {axis}."
    return ""


def _output_axis(node: onnx.NodeProto, graph: Graph, rank: int) -> int:
    """The axis of the weight that holds the layer's output channels."""
    if node.op_type == "MatMul":
        return rank - 1
    if node.op_type == "Gemm":
        return 0 if graph.attribute(node, "transB", 0) else 1
    return 1 if node.op_type == "ConvTranspose" else 0


def _dequantized(name: str, graph: Graph) -> bool:
    producer = graph.producers.get(name)
    return producer is not None and producer.op_type == DEQUANTIZE
