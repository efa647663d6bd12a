"""Reading ONNX as others write it: files of one sample, whose batch becomes free, names, functions, rounded-up pools."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper
from onnx_cases import save
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static

from edgepress import convert, models
from edgepress.compress.prune_channels import PruneChannels
from edgepress.errors import UnsupportedModel
from edgepress.stage import Context

node = helper.make_node
random = np.random.default_rng(0)


def weight(*sizes: int) -> np.ndarray:
    return random.normal(size=sizes).astype(np.float32)


def compare(path: Path, array: np.ndarray, fixed: bool = False) -> None:
    """What was read gives what ONNX Runtime gives; a file of one sample is asked for one after the other."""
    session = onnxruntime.InferenceSession(path)
    parts = [array[place : place + 1] for place in range(len(array))] if fixed else [array]
    wanted = np.concatenate([session.run(None, {"x": part})[0] for part in parts])
    assert np.allclose(convert.read(path).run(array)[0], wanted, atol=1e-5)


OF_ONE_SAMPLE: dict[str, tuple[list[Any], dict[str, np.ndarray], list[int]]] = {
    "sizes": ([node("Resize", ["x", "", "", "s"], ["y"], mode="linear")], {"s": np.array([1, 3, 7])}, [3, 4]),
    "class_token": ([node("Concat", ["token", "x"], ["y"], axis=1)], {"token": weight(1, 1, 4)}, [3, 4]),
    "heads": (
        [
            node("Transpose", ["x"], ["steps"], perm=[1, 0, 2]),
            node("Reshape", ["steps", "apart"], ["heads"]),
            node("Transpose", ["heads"], ["first"], perm=[1, 0, 2]),
            node("MatMul", ["first", "w"], ["z"]),
            node("Reshape", ["z", "again"], ["batched"]),
            node("Transpose", ["batched"], ["back"], perm=[2, 0, 1, 3]),
            node("Reshape", ["back", "flat"], ["rows"]),
            node("MatMul", ["rows", "v"], ["product"]),
            node("Reshape", ["product", "middle"], ["joined"]),
            node("Transpose", ["joined"], ["y"], perm=[1, 0, 2]),
        ],
        {
            "apart": np.array([5, 2, 4]),
            "w": weight(4, 4),
            "v": weight(8, 8),
            "again": np.array([1, 2, -1, 4]),
            "flat": np.array([5, 8]),
            "middle": np.array([5, 1, 8]),
        },
        [5, 8],
    ),
}


@pytest.mark.parametrize("name", OF_ONE_SAMPLE)
def test_a_file_of_one_sample_takes_any_batch(name: str, tmp_path: Path) -> None:
    nodes, constants, sizes = OF_ONE_SAMPLE[name]
    path = save(tmp_path / "one.onnx", nodes, constants, [1, *sizes])

    compare(path, weight(3, *sizes), fixed=True)


def test_the_shape_of_a_computed_shape_leaves_the_batch_free(tmp_path: Path) -> None:
    """As PyTorch's older exporter writes `token.expand(batch, -1, -1)`."""
    constants = {"zero": np.array([0]), "rest": np.array([4, 4]), "token": weight(1, 1, 4)}
    nodes = [
        node("Shape", ["x"], ["sizes"]),
        node("Gather", ["sizes", "zero"], ["batch"]),
        node("Concat", ["batch", "rest"], ["wanted"], axis=0),
        node("Shape", ["wanted"], ["rank"]),
        node(
            "ConstantOfShape",
            ["rank"],
            ["ones"],
            value=helper.make_tensor("one", TensorProto.INT64, [1], [1]),
        ),
        node("Mul", ["wanted", "ones"], ["target"]),
        node("Expand", ["token", "target"], ["tokens"]),
        node("Add", ["tokens", "x"], ["y"]),
    ]
    compare(save(tmp_path / "expand.onnx", nodes, constants, ["N", 4, 4]), weight(3, 4, 4))


@pytest.mark.parametrize("kind", ["MaxPool", "AveragePool"])
@pytest.mark.parametrize(("width", "stride", "size"), [(4, 4, 16), (3, 2, 15)])
def test_windows_counted_up_over_uneven_padding(
    kind: str, width: int, stride: int, size: int, tmp_path: Path
) -> None:
    """The first of these has a last window that would begin behind the picture; Caffe's and Paddle's files have both."""
    pool = node(kind, ["x"], ["y"], kernel_shape=[width], strides=[stride], pads=[0, 1], ceil_mode=1)

    compare(save(tmp_path / "pool.onnx", [pool], {}, ["N", 2, size]), weight(2, 2, size))


def test_words_of_python_name_layers_and_weights(tmp_path: Path) -> None:
    nodes = [
        node("Conv", ["x", "for.weight"], ["lambda"], name="model/lambda/Conv2D"),
        node("Conv", ["lambda", "w"], ["y"], name="model/lambda/class"),
    ]
    constants = {"for.weight": weight(2, 3, 1), "w": weight(2, 2, 1)}
    compare(save(tmp_path / "words.onnx", nodes, constants, ["N", 3, 4]), weight(2, 3, 4))


def test_functions_and_what_onnx_runtime_had_first(tmp_path: Path) -> None:
    nodes = [
        node("Gelu", ["x"], ["a"], domain="com.microsoft"),
        node("Twice", ["a"], ["y"], domain="local"),
    ]
    path = save(tmp_path / "function.onnx", nodes, {}, ["N", 3], **{"com.microsoft": 1, "local": 1})
    model = onnx.load(path)
    body = [node("Add", ["value", "value"], ["made"])]
    twice = helper.make_function("local", "Twice", ["value"], ["made"], body, [helper.make_opsetid("", 17)])
    model.functions.append(twice)
    onnx.save(model, path)

    compare(path, weight(2, 3))


def test_units_of_a_recurrent_layer_that_was_read_are_pruned(tmp_path: Path) -> None:
    nodes = [
        node("Transpose", ["x"], ["steps"], perm=[1, 0, 2]),
        node("LSTM", ["steps", "w", "r"], ["all"], name="lstm", direction="bidirectional", hidden_size=16),
        node("Transpose", ["all"], ["batched"], perm=[2, 0, 1, 3]),
        node("Reshape", ["batched", "joined"], ["features"]),
        node("MatMul", ["features", "head"], ["y"], name="head"),
    ]
    constants = {
        "w": weight(2, 64, 4),
        "r": weight(2, 64, 16),
        "joined": np.array([0, 0, 32]),
        "head": weight(32, 3),
    }
    path = save(tmp_path / "lstm.onnx", nodes, constants, ["N", 5, 4])
    compare(path, weight(2, 5, 4))

    program = convert.read(path)
    outcome = PruneChannels(macs=0.6).apply(program, Context(original=program, load_model=models.load))

    assert outcome.program.exported.state_dict["lstm.weight_hh_l0_reverse"].shape == (32, 8)


class Calibration(CalibrationDataReader):
    """Pictures for ONNX Runtime's own quantizer."""

    def __init__(self) -> None:
        self._left = [{"x": weight(2, 4, 8, 8)} for _ in range(2)]

    def get_next(self) -> dict[str, np.ndarray] | None:
        return self._left.pop() if self._left else None


@pytest.mark.parametrize("by_channel", [False, True])
def test_operators_on_integers_become_a_quantized_program(by_channel: bool, tmp_path: Path) -> None:
    nodes = [
        node("Conv", ["x", "w", "b"], ["c"], name="conv", pads=[1, 1, 1, 1]),
        node("LeakyRelu", ["c"], ["l"], name="leaky", alpha=0.1),
        node("AveragePool", ["l"], ["p"], name="pool", kernel_shape=[2, 2], strides=[2, 2]),
        node("Mul", ["p", "p"], ["m"], name="mul"),
        node("Concat", ["p", "m"], ["j"], name="joined", axis=1),
        node("GlobalAveragePool", ["j"], ["g"], name="gap"),
        node("Flatten", ["g"], ["f"], name="flat"),
        node("Gemm", ["f", "h", "k"], ["d"], name="dense", transB=1),
        node("Sigmoid", ["d"], ["s"], name="sigmoid"),
        node("MatMul", ["s", "t"], ["y"], name="head"),
    ]
    constants = {
        "w": weight(6, 4, 3, 3),
        "b": weight(6),
        "h": weight(5, 12),
        "k": weight(5),
        "t": weight(5, 3),
    }
    source = save(tmp_path / "float.onnx", nodes, constants, ["N", 4, 8, 8])
    path = tmp_path / "integers.onnx"
    quantize_static(source, path, Calibration(), quant_format=QuantFormat.QOperator, per_channel=by_channel)
    assert all(
        "Linear" in each.op_type or each.op_type in ("QGemm", "Flatten")
        for each in onnx.load(path).graph.node
    )
    array = weight(4, 4, 8, 8)
    (wanted,) = onnxruntime.InferenceSession(path).run(None, {"x": array})

    program = convert.read(path)

    assert program.precision == "int8"
    # Float arithmetic between the same roundings may round a value the other way: by a step of its scale, in the end less.
    assert np.abs(program.run(array)[0] - wanted).max() <= np.ptp(wanted) / 50


@pytest.mark.parametrize(
    ("dtype", "zero", "is_read"), [("uint8", 128, True), ("uint8", 119, False), ("int8", 3, False)]
)
def test_stored_weights_lie_about_zero_or_are_refused(
    dtype: str, zero: int, is_read: bool, tmp_path: Path
) -> None:
    constants = {
        "numbers": random.integers(0, 127, (3, 4)).astype(dtype),
        "scale": np.float32(0.01),
        "zero": np.array(zero, dtype),
    }
    nodes = [
        node("DequantizeLinear", ["numbers", "scale", "zero"], ["w"], name="made"),
        node("MatMul", ["x", "w"], ["y"]),
    ]
    path = save(tmp_path / "stored.onnx", nodes, constants, ["N", 3])

    if is_read:
        array, floats = weight(2, 3), (constants["numbers"].astype(np.float32) - zero) * np.float32(0.01)
        assert np.allclose(convert.read(path).run(array)[0], array @ floats, atol=1e-5)
    else:
        with pytest.raises(UnsupportedModel, match="'numbers' have zero points other than"):
            convert.read(path)
