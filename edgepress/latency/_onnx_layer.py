"""Writes an ONNX file of one layer by hand: PyTorch's exporter takes a second for the smallest network.

The file is what the exporter makes of the layer; every other format's probes go through their converters.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper, save, shape_inference

from edgepress.artifact import Artifact, Manifest
from edgepress.latency._layer_probe import output_channels
from edgepress.signature import Signature, TensorSpec
from edgepress.stopwatch import LayerShape

OPSET, IR_VERSION = 18, 10
INPUT, WEIGHT, BIAS, OUTPUT = "values", "weight", "bias", "result"
AUTOMATIC_PADDING = {"same": "SAME_UPPER", "valid": "VALID"}


def write_layer(shape: LayerShape, path: Path) -> Artifact:
    """The layer with random weights and a bias, for batches of any size."""
    random = np.random.default_rng(0)
    weight = (0.1 * random.standard_normal(shape.weight)).astype(np.float32)
    bias = np.zeros(output_channels(shape), np.float32)
    if "linear" not in shape.operator:
        nodes = [_convolution(shape)]
    elif len(shape.input) == 2:
        nodes = [helper.make_node("Gemm", [INPUT, WEIGHT, BIAS], [OUTPUT], transB=1)]
    else:
        weight = np.ascontiguousarray(weight.T)
        product = helper.make_node("MatMul", [INPUT, WEIGHT], ["product"])
        nodes = [product, helper.make_node("Add", ["product", BIAS], [OUTPUT])]
    sizes: list[str | int | None] = ["batch", *shape.input[1:]]
    unknown: list[str | int | None] = ["batch", *(f"size_{axis}" for axis in range(1, len(sizes)))]
    graph = helper.make_graph(
        nodes,
        "layer",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, sizes)],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, unknown)],
        [numpy_helper.from_array(weight, WEIGHT), numpy_helper.from_array(bias, BIAS)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    save(model, path)
    made = shape_inference.infer_shapes(model).graph.output[0].type.tensor_type.shape.dim
    signature = Signature(
        (TensorSpec(INPUT, (None, *shape.input[1:])),),
        (TensorSpec(OUTPUT, (None, *(size.dim_value for size in made[1:]))),),
    )
    return Artifact.describe(path, Manifest(format="onnx", signature=signature))


def _convolution(shape: LayerShape) -> NodeProto:
    settings, axes = dict(shape.settings), len(shape.weight) - 2

    def spread(name: str) -> list[int]:
        value: Any = settings[name]
        values = list(value) if isinstance(value, tuple) else [value]
        return values * axes if len(values) == 1 else values

    attributes: dict[str, Any] = {
        "kernel_shape": shape.weight[2:],
        "strides": spread("stride"),
        "dilations": spread("dilation"),
        "group": settings["groups"],
    }
    if isinstance(padding := settings["padding"], str):
        attributes["auto_pad"] = AUTOMATIC_PADDING[padding]
    else:
        attributes["pads"] = spread("padding") * 2
    if "transpose" not in shape.operator:
        return helper.make_node("Conv", [INPUT, WEIGHT, BIAS], [OUTPUT], **attributes)
    attributes["output_padding"] = spread("output_padding")
    return helper.make_node("ConvTranspose", [INPUT, WEIGHT, BIAS], [OUTPUT], **attributes)
