"""Which layers an operator of a runtime computes, told from how the runtimes write it."""

from __future__ import annotations

import pytest

from edgepress.runtime import _xnnpack
from edgepress.runtime._onnx_fusion import Node, fused_layers
from edgepress.runtime.on_tensorrt import fused_layers as in_an_engine


def chain(*names: str) -> list[Node]:
    """A network without branches: each `<layer>/<type>` reads what the one before gave."""
    ends = ["in", *(f"{name}:out" for name in names)]
    return [
        Node(name, name.rpartition("/")[2].partition("_")[0], (ends[place],), (ends[place + 1],))
        for place, name in enumerate(names)
    ]


def test_a_convolution_that_took_the_name_of_its_activation() -> None:
    executed = [Node("r/Relu_nchwc", "Conv", ("in", "w"), ("reorder",)), Node("b/Conv", "Conv", (), ())]
    found = fused_layers(chain("a/Conv", "n/BatchNormalization", "r/Relu", "b/Conv"), executed)
    assert found == {"r/Relu_nchwc": ("a", "n", "r"), "b/Conv": ("b",)}


def test_an_activation_that_went_into_the_layer_before() -> None:
    file = chain("a/Conv", "r/Relu", "q/QuantizeLinear", "d/DequantizeLinear", "b/Conv", "c/Clip")
    executed = [
        Node("a/Conv_token_2", "QLinearConv", (), ("x",)),
        Node("b/Conv_quant", "QLinearConv", (), ("y",)),
    ]
    assert fused_layers(file, executed) == {"a/Conv_token_2": ("a", "r"), "b/Conv_quant": ("b", "c")}


def test_operators_that_became_a_new_one_are_found_by_its_result() -> None:
    """A swish reads the convolution twice: so it is no activation that the convolution could take along."""
    conv, sigmoid = Node("a/Conv", "Conv", ("in",), ("a",)), Node("s/Sigmoid", "Sigmoid", ("a",), ("s",))
    file = [conv, sigmoid, Node("s/Mul", "Mul", ("a", "s"), ("m",))]
    executed = [conv, Node("QuickGelu_1", "QuickGelu", ("a",), ("m",))]
    assert fused_layers(file, executed) == {"a/Conv": ("a",), "QuickGelu_1": ("s",)}


def test_what_only_moves_data_is_no_layer() -> None:
    executed = [
        Node("a/Conv_nchwc", "Conv", (), ("x",)),
        Node("ReorderOutput", "ReorderOutput", ("x",), ("a/Conv:out",)),
    ]
    assert fused_layers(chain("a/Conv"), executed) == {"a/Conv_nchwc": ("a",)}


def test_kernels_stand_in_the_order_of_the_layers() -> None:
    operators = [("a", "PAD"), ("a", "CONV_2D"), ("b", "DEPTHWISE_CONV_2D"), ("c", "ADD"), ("d", "MEAN"), ("e", "FULLY_CONNECTED")]  # fmt: skip
    kernels = ["Transpose (ND, X32)", "Convolution (NHWC, F32) IGEMM", "Convolution (NHWC, F32) DWConv", "Mean (ND)", "Static Reshape (NC)", "Fully Connected (NC, F32) GEMM"]  # fmt: skip
    assert _xnnpack.layers(kernels, operators) == ((), ("a",), ("b",), ("d",), (), ("e",))


def test_nothing_is_guessed_where_a_convolution_has_no_layer() -> None:
    kernels = ["Convolution (NHWC, F32) IGEMM"] * 2
    assert _xnnpack.layers(kernels, [("a", "CONV_2D")]) == ((), ())


@pytest.mark.parametrize(("name", "layers"), [
    ("stem.0/Conv + relu/Relu", ("stem.0", "relu")),
    ("PWN(PWN(act/Sigmoid), act/Mul)", ("act",)),
    ("{ForeignNode[blocks.0/MatMul...head/Gemm]}", ("blocks.0", "head")),
    ("Reformatting CopyNode for Input Tensor 0 to stem/Conv", ()),
])  # fmt: skip
def test_layers_of_an_engine(name: str, layers: tuple[str, ...]) -> None:
    assert in_an_engine(name) == layers
