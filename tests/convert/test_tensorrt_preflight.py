"""TensorRT's published rules, asked of ONNX models without TensorRT: one small model for each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnx_ir
import pytest
import tiny_networks
from onnx import TensorProto, helper, numpy_helper

from edgepress import compress, convert
from edgepress.compress.quantize_static import QuantizeStatic
from edgepress.convert._onnx_writing.activations import make_activations_symmetric
from edgepress.convert._tensorrt.preflight import quality, unsupported
from edgepress.recipe import Recipe


def model(nodes: Sequence[onnx.NodeProto], stored: dict[str, np.ndarray], rank: int = 4) -> onnx.ModelProto:
    """A model from x to y; what the nodes read besides is stored."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2, 8, 8][:rank])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    initializers = [numpy_helper.from_array(np.asarray(array), name) for name, array in stored.items()]
    return helper.make_model(helper.make_graph(list(nodes), "rules", [x], [y], initializers))


def node(operator: str, *inputs: str, **attributes: object) -> onnx.NodeProto:
    return helper.make_node(operator, list(inputs), ["y"], name=f"block.layer/{operator}", **attributes)


AXIS = {"axes": np.array([1], np.int64)}
COMPUTED = helper.make_node("NonZero", ["x"], ["axes"])

OPERATORS = {
    "no BitwiseAnd": ([node("BitwiseAnd", "x", "x")], {}),
    "no FusedGelu": ([node("FusedGelu", "x", domain="com.microsoft")], {}),
    "where a maximum is": (
        [
            helper.make_node(
                "MaxPool", ["x"], ["y", "places"], name="block.layer/MaxPool", kernel_shape=[2, 2]
            )
        ],
        {},
    ),
    "without dilation": ([node("MaxPool", "x", kernel_shape=[2, 2], dilations=[2, 2])], {}),
    "two or three axes": ([node("AveragePool", "x", kernel_shape=[2])], {}),
    "tf_crop_and_resize": (
        [node("Resize", "x", "", "s", coordinate_transformation_mode="tf_crop_and_resize")],
        {"s": np.ones(4, np.float32)},
    ),
    "in order": ([node("TopK", "x", "k", sorted=0)], {"k": np.array([3])}),
    "fewer than 3840": ([node("TopK", "x", "k")], {"k": np.array([4000])}),
    "coupled gates": ([node("LSTM", "x", "w", "r", input_forget=1, hidden_size=1)], {}),
    "without reducing": ([node("ScatterND", "x", "i", "x", reduction="add")], {}),
    "first output": (
        [helper.make_node("LayerNormalization", ["x", "s"], ["y", "mean"], name="block.layer/LayerNorm")],
        {"s": np.ones(8, np.float32)},
    ),
    "that trains": ([node("BatchNormalization", "x", "s", "s", "s", "s", training_mode=1)], {}),
    "axes of ReduceMean stored": ([COMPUTED, node("ReduceMean", "x", "axes")], {}),
}


@pytest.mark.parametrize("reason", OPERATORS)
def test_operators_that_tensorrt_does_not_take(reason: str) -> None:
    (found,) = unsupported(model(*OPERATORS[reason]))
    assert reason in found.reason
    assert found.layer.startswith("block.layer")


def test_the_same_operators_used_otherwise_are_taken() -> None:
    pool = node("MaxPool", "x", kernel_shape=[2, 2], dilations=[1, 1])
    mean = node("ReduceMean", "x", "axes")
    assert not unsupported(model([pool], {}))
    assert not unsupported(model([mean], AXIS))
    constant = helper.make_node("Constant", [], ["axes"], value_ints=[1])
    assert not unsupported(model([constant, mean], {})), "a Constant is stored, too"


WEIGHT = np.ones((4, 2, 3, 3), np.int8)
GOOD = {
    "scale": np.float32(0.1),
    "zero": np.int8(0),
    "weight": WEIGHT,
    "scales": np.full(4, 0.1, np.float32),
    "zeros": np.zeros(4, np.int8),
    "bias": np.zeros(4, np.float32),
}


def convolution(
    axis: int = 0, bias: str = "bias", operator: str = "Conv", **changed: object
) -> onnx.ModelProto:
    """A convolution in int8, its codes and constants as TensorRT wants them but for what is `changed`."""
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["code"], name="block.input/QuantizeLinear"),
        helper.make_node("DequantizeLinear", ["code", "scale", "zero"], ["value"], name="block.input/Dequantize"),
        helper.make_node("DequantizeLinear", ["weight", "scales", "zeros"], ["filter"], axis=axis, name="filter/D"),
        helper.make_node("DequantizeLinear", ["code", "scale", "zero"], ["coded"], name="coded/DequantizeLinear"),
        node(operator, "value", "filter", bias),
    ]  # fmt: skip
    return model(nodes, {**GOOD, **changed})


RULES = {
    "uint8 about 128": {"zero": np.uint8(128)},
    "int8 about 3": {"zero": np.int8(3)},
    "above zero": {"scale": np.float32(0)},
    "output channel (axis 0), not along axis 1": {"axis": 1},
    "output channel (axis 1), not along axis 0": {"operator": "ConvTranspose"},
    "bias in float": {"bias": "coded"},
    "one scale a tensor": {"scale": np.full(2, 0.1, np.float32), "zero": np.zeros(2, np.int8)},
}


@pytest.mark.parametrize("rule", RULES)
def test_codes_that_tensorrt_does_not_take(rule: str) -> None:
    found = unsupported(convolution(**RULES[rule]))
    assert found
    assert all(rule in place.reason for place in found)


def test_codes_as_tensorrt_wants_them() -> None:
    assert not unsupported(convolution())
    assert quality(convolution()) == {"int8_layers": 1, "float_layers": 0}


def test_our_own_files_follow_the_rules(tmp_path: Path) -> None:
    """Those of a quantized network once their activations are symmetric, which those for x86 are not."""
    recipe = Recipe((QuantizeStatic(samples=16),))
    program = compress.apply(tiny_networks.capture(tiny_networks.Residual), recipe, tiny_networks.Patches(16))
    written = onnx.load(convert.to(program, "onnx", tmp_path / "model.onnx").path)
    assert {place.operator for place in unsupported(written)} == {"QuantizeLinear", "DequantizeLinear"}
    changed = onnx_ir.from_proto(written)
    make_activations_symmetric(changed)
    symmetric = onnx_ir.to_proto(changed)
    assert not unsupported(symmetric)
    assert quality(symmetric) == {"int8_layers": 4, "float_layers": 0}, "every layer computes in int8"
