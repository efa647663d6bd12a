"""The ONNX operators that TensorRT 10 and later import, and the uses of them that it documents it does not."""

from __future__ import annotations

from collections.abc import Callable

import onnx

from edgepress.convert._tensorrt.graph import Graph

SUPPORTED_TEXT = """
    Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh AveragePool BatchNormalization Cast CastLike Ceil Celu
    Clip Concat Constant ConstantOfShape Conv ConvTranspose Cos Cosh CumSum DeformConv DepthToSpace DequantizeLinear Div
    Dropout Einsum Elu Equal Erf Exp Expand EyeLike Flatten Floor Gather GatherElements GatherND Gelu Gemm
    GlobalAveragePool GlobalLpPool GlobalMaxPool Greater GreaterOrEqual GridSample GroupNormalization GRU HardSigmoid
    HardSwish Hardmax Identity If InstanceNormalization IsInf IsNaN LayerNormalization LeakyRelu Less LessOrEqual Log
    LogSoftmax Loop LRN LSTM LpNormalization LpPool MatMul Max MaxPool Mean MeanVarianceNormalization Min Mish Mod Mul
    Neg NonMaxSuppression NonZero Not OneHot Or Pad Pow PRelu QuantizeLinear RandomNormal RandomNormalLike RandomUniform
    RandomUniformLike Range Reciprocal ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin
    ReduceProd ReduceSum ReduceSumSquare Relu Reshape Resize ReverseSequence RNN RoiAlign Round Scan Scatter
    ScatterElements ScatterND Selu Shape Shrink Sigmoid Sign Sin Sinh Size Slice Softmax Softplus Softsign SpaceToDepth
    Split Sqrt Squeeze Sub Sum Tan Tanh ThresholdedRelu Tile TopK Transpose Trilu Unsqueeze Upsample Where Xor
"""
SUPPORTED = frozenset(SUPPORTED_TEXT.split())
"""As onnx-tensorrt's docs/operators.md publishes them for TensorRT 10.0, the oldest that the converter builds with."""

LARGEST_K = 3840
RESIZE_COORDINATES = (
    "half_pixel", "pytorch_half_pixel", "tf_half_pixel_for_nn", "asymmetric", "align_corners",
)  # fmt: skip

Rule = Callable[[onnx.NodeProto, Graph], str]
"""Why TensorRT does not take this use of the operator; empty where it does."""


def refused(node: onnx.NodeProto, graph: Graph) -> str:
    """Why TensorRT cannot run the node, or an empty text."""
    if node.domain not in ("", "ai.onnx") or node.op_type not in SUPPORTED:
        return f"TensorRT has no {node.op_type}."
    return RULES[node.op_type](node, graph) if node.op_type in RULES else ""


def _pool(node: onnx.NodeProto, graph: Graph) -> str:
    if len(node.output) > 1 and node.output[1]:
        return "TensorRT does not tell where a maximum is."
    if set(graph.attribute(node, "dilations", [1])) != {1}:
        return "TensorRT pools without dilation only."
    if len(graph.attribute(node, "kernel_shape", [1, 1])) not in (2, 3):
        return "TensorRT pools over two or three axes only."
    return ""


def _constant_input(place: int, name: str) -> Rule:
    def rule(node: onnx.NodeProto, graph: Graph) -> str:
        given = node.input[place] if len(node.input) > place else ""
        constant = not given or graph.constant(given) is not None
        return "" if constant else f"TensorRT wants the {name} of {node.op_type} stored, not computed."

    return rule


def _resize(node: onnx.NodeProto, graph: Graph) -> str:
    coordinates = graph.attribute(node, "coordinate_transformation_mode", "half_pixel")
    mode = graph.attribute(node, "mode", "nearest")
    if coordinates not in RESIZE_COORDINATES:
        return f"TensorRT does not resize with {coordinates} coordinates."
    return "" if mode in ("nearest", "linear", "cubic") else f"TensorRT does not resize in {mode} mode."


def _top_k(node: onnx.NodeProto, graph: Graph) -> str:
    if graph.attribute(node, "sorted", 1) != 1:
        return "TensorRT gives the largest values in order only."
    count = graph.constant(node.input[1])
    return (
        ""
        if count is None or int(count.max()) < LARGEST_K
        else f"TensorRT finds fewer than {LARGEST_K} values."
    )


def _lstm(node: onnx.NodeProto, graph: Graph) -> str:
    if graph.attribute(node, "input_forget", 0) or graph.attribute(node, "layout", 0):
        return "TensorRT has neither coupled gates nor the batch in front in an LSTM."
    return ""


def _scatter(node: onnx.NodeProto, graph: Graph) -> str:
    plain = graph.attribute(node, "reduction", "none") == "none"
    return "" if plain else "TensorRT scatters without reducing only."


def _first_output_only(node: onnx.NodeProto, graph: Graph) -> str:
    more = any(node.output[1:])
    return f"TensorRT gives the first output of {node.op_type} only." if more else ""


def _batch_norm(node: onnx.NodeProto, graph: Graph) -> str:
    training = graph.attribute(node, "training_mode", 0)
    return "TensorRT has no BatchNormalization that trains." if training else ""


REDUCTIONS = (operator for operator in SUPPORTED if operator.startswith("Reduce"))
RULES: dict[str, Rule] = {
    "AveragePool": _pool,
    "MaxPool": _pool,
    "LpPool": _pool,
    "Resize": _resize,
    "TopK": _top_k,
    "LSTM": _lstm,
    "ScatterND": _scatter,
    "LayerNormalization": _first_output_only,
    "BatchNormalization": _batch_norm,
    "CumSum": _constant_input(1, "axis"),
    "Pad": _constant_input(3, "axes"),
    "Slice": _constant_input(3, "axes"),
    "Squeeze": _constant_input(1, "axes"),
    "Unsqueeze": _constant_input(1, "axes"),
    **{operator: _constant_input(1, "axes") for operator in REDUCTIONS},
}
