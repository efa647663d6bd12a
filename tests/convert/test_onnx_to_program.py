"""Reading ONNX: each operator against ONNX's own test cases, whole networks against ONNX Runtime, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx_cases
import onnxruntime
import pytest
import tiny_networks
import torch
from onnx import helper
from onnx_cases import save
from two_bits import needs_two_bits

from edgepress import compress, convert, models, runtime
from edgepress.compress._quantization.bits import Scheme
from edgepress.compress.prune_channels import PruneChannels, prunable
from edgepress.compress.quantize_static import QuantizeStatic
from edgepress.compress.quantize_weights import QuantizeWeights
from edgepress.compress.ternarize import Ternarize
from edgepress.convert._onnx_reading.network import Network
from edgepress.data._arrays import ArrayData
from edgepress.errors import BadInput, UnknownName, UnsupportedModel
from edgepress.program import Program
from edgepress.recipe import Recipe
from edgepress.stage import Context, Stage


def outputs_of(case: Any, folder: Path) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """(ours, expected)."""
    model, arrays, expected = onnx_cases.read(case, folder)
    if not model.operations:
        return [model.constants[name] for name in model.outputs], expected
    with torch.no_grad():
        made = Network(model, None)(*map(torch.from_numpy, arrays))
    return [value.numpy() for value in (made if isinstance(made, tuple) else (made,))], expected


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("type", onnx_cases.types())
def test_each_operator_computes_what_onnx_says(type: str, tmp_path: Path) -> None:
    compared = 0
    for case in onnx_cases.ordinary(type):
        try:
            ours, expected = outputs_of(case, tmp_path)
        except UnsupportedModel:
            continue  # refused, which is never wrong; how much is not refused is counted below
        if type == "QuantizeLinear" and expected[0].dtype == np.uint8:
            ours = [ours[0].astype(np.int16) + 128]
        for have, want in zip(ours, expected, strict=True):
            assert have.shape == want.shape, case.name
            # Some cases state four digits; 16-bit floats are computed wider or narrower than the reference does.
            tolerance = 1e-2 if want.dtype == np.float16 else 1e-3
            have, want = have.astype(float), want.astype(float)
            assert np.allclose(have, want, tolerance, 1e-5, equal_nan=True), case.name
        compared += 1
    assert compared or type in WITHOUT_CASES, "every case of this operator was refused"


WITHOUT_CASES = {"And", "Not", "Or", "Xor", "Shape", "Size", "Upsample", "GRU", "Sum", "CastLike", "Cast"}
"""Cases of these leave nothing to compare: they are older than what we read, or no input reaches the output."""


ZOO = {"lenet5": 32, "resnet20": 32, "mobilenet_v2": 64, "shufflenet_v2": 64, "squeezenet1_1": 64}
DEEP = {"mobilenet_v2", "shufflenet_v2"}
"""Take twenty seconds each."""


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name in DEEP)) for name in ZOO]
)
def test_a_zoo_network_comes_back_from_onnx(name: str, tmp_path: Path) -> None:
    program = models.load(name, input_shape=(1 if name == "lenet5" else 3, ZOO[name], ZOO[name]))
    convert.to(program, "onnx", tmp_path / "network.onnx")

    back = convert.read(tmp_path / "network.onnx")

    assert back.signature == program.signature
    (array,) = program.signature.example(3)
    before, after = program.run(array)[0], back.run(array)[0]
    assert np.abs(before - after).max() <= 1e-5 * np.abs(before).max()
    assert sum(group.channels for group in prunable(back).groups) == sum(
        group.channels for group in prunable(program).groups
    )


def test_what_was_read_can_be_pruned_and_converted(tmp_path: Path) -> None:
    convert.to(models.load("resnet20"), "onnx", tmp_path / "network.onnx")
    back = convert.read(tmp_path / "network.onnx")

    outcome = PruneChannels(macs=0.5).apply(back, Context(original=back, load_model=models.load))
    convert.to(outcome.program, "onnx", tmp_path / "smaller.onnx")

    (array,) = back.signature.example(2)
    (made,) = onnxruntime.InferenceSession(tmp_path / "smaller.onnx").run(None, {"pictures": array})
    assert np.allclose(made, outcome.program.run(array)[0], atol=1e-5)


def test_a_quantized_file_becomes_a_quantized_program(tmp_path: Path) -> None:
    from edgepress.data import open_data

    program = models.load("lenet5")
    context = Context(original=program, load_model=models.load, data=open_data("digits"))
    quantized = QuantizeStatic(samples=64).apply(program, context).program
    convert.to(quantized, "onnx", tmp_path / "int8.onnx")

    back = convert.read(tmp_path / "int8.onnx")

    assert back.precision == "int8"
    (array,) = program.signature.example(8)
    assert np.allclose(back.run(array)[0], quantized.run(array)[0], atol=1e-6)


@pytest.mark.parametrize(
    ("stage", "form"),
    [
        (QuantizeStatic(scheme="w4a8", samples=64, low_ends=True, rounding="nearest"), "w4a8"),
        (QuantizeStatic(scheme="w8a16", samples=64, rounding="nearest"), "w8a16"),
        pytest.param(
            Ternarize(low_ends=True, epochs=1, samples=64, batch_size=32), "w2a8", marks=needs_two_bits
        ),
        (QuantizeWeights(bits=4, rounding="nearest"), "w4"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_file_of_few_bits_is_read_with_the_bits_it_has(stage: Stage, form: str, tmp_path: Path) -> None:
    """The file's weights are of 4 bits (int4) or 2 (int2), its activations of 16."""
    data = tiny_networks.Patches(64)
    made = compress.apply(tiny_networks.capture(tiny_networks.Residual), Recipe((stage,)), data)
    back = convert.read(convert.to(made, "onnx", tmp_path / "model.onnx").path)
    assert back.quantized is not None
    assert back.quantized.name == form
    (pictures,) = next(data.batches("evaluate", None)).inputs
    np.testing.assert_allclose(back.run(pictures)[0], made.run(pictures)[0], atol=1e-6)


@pytest.mark.parametrize("scheme", ["int8", "w4a8", "w8a16"])
def test_a_quantized_transposed_convolution_keeps_its_scales(scheme: Scheme, tmp_path: Path) -> None:
    torch.manual_seed(0)
    layers = (torch.nn.Conv2d(3, 6, 1), torch.nn.ReLU(), torch.nn.ConvTranspose2d(6, 4, 4, 2, 1))
    program = Program.capture(torch.nn.Sequential(*layers).eval(), (torch.zeros(2, 3, 5, 5),))
    pictures = np.random.default_rng(0).standard_normal((8, 3, 5, 5)).astype(np.float32)
    context = Context(original=program, load_model=models.load, data=ArrayData(pictures))
    quantized = QuantizeStatic(samples=8, scheme=scheme, low_ends=True).apply(program, context).program
    artifact = convert.to(quantized, "onnx", tmp_path / "model.onnx")

    back = convert.read(artifact.path)

    assert back.quantized == quantized.quantized
    with runtime.open(artifact) as runner:
        assert runtime.compare(quantized.run, runner.run, [(pictures,)]).sqnr_db > 40
    assert np.allclose(back.run(pictures)[0], quantized.run(pictures)[0], atol=1e-6)


class Sequence(torch.nn.Module):
    """N x 7 x 8 to N x 5 through a bidirectional LSTM of two layers and a GRU."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = torch.nn.LSTM(8, 6, 2, batch_first=True, bidirectional=True)
        self.gru = torch.nn.GRU(12, 6, batch_first=True)
        self.classifier = torch.nn.Linear(6, 5)

    def forward(self, steps: torch.Tensor) -> torch.Tensor:
        made, _ = self.gru(self.lstm(steps)[0])
        scores: torch.Tensor = self.classifier(made[:, -1])
        return scores


class Shuffled(torch.nn.Module):
    """Channels are mixed by views that spell out the batch, as older exporters write them."""

    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Conv2d(3, 8, 3, padding=1)
        self.second = torch.nn.Conv2d(8, 4, 3, groups=4)
        self.slope = torch.nn.PReLU(8)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        features = self.slope(self.first(pictures))
        batch, channels, height, width = features.shape
        features = features.view(batch, 2, channels // 2, height, width).transpose(1, 2)
        features = self.second(features.reshape(batch, channels, height, width))
        return torch.nn.functional.interpolate(features, scale_factor=2).mean((2, 3))


@pytest.mark.parametrize(("network", "shape"), [(Sequence(), (7, 8)), (Shuffled(), (3, 8, 8))])
@pytest.mark.parametrize("opset", [11, 17])
def test_another_writer_with_a_fixed_batch(
    network: torch.nn.Module, shape: tuple[int, ...], opset: int, tmp_path: Path
) -> None:
    """PyTorch's older exporter writes the batch of one into every reshape."""
    path, array = tmp_path / "network.onnx", torch.randn(1, *shape)
    torch.onnx.export(
        network.eval(),
        (array,),
        path,
        opset_version=opset,
        dynamo=False,
        input_names=["in"],
        output_names=["out"],
    )

    program = convert.read(path)

    assert program.signature.inputs[0].shape == (None, *shape)
    (wanted,) = onnxruntime.InferenceSession(path).run(None, {"in": array.numpy()})
    several = np.concatenate([array.numpy(), np.ones((2, *shape), np.float32)])
    assert np.abs(program.run(several)[0][:1] - wanted).max() <= 1e-5


def read_and_compare(path: Path, array: np.ndarray) -> Program:
    program = convert.read(path)
    (wanted,) = onnxruntime.InferenceSession(path).run(None, {"x": array})
    assert np.allclose(program.run(array)[0], wanted, atol=1e-5)
    return program


def test_products_with_stored_matrices_become_linear_layers(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    constants = {
        "first.weight": random.normal(size=(6, 5)).astype(np.float32),
        "first.bias": random.normal(size=5).astype(np.float32),
        "opaque": random.normal(size=(5, 4)).astype(np.float32),
    }
    nodes = [
        helper.make_node("MatMul", ["x", "first.weight"], ["a"], name="first"),
        helper.make_node("Add", ["first.bias", "a"], ["b"]),
        helper.make_node("Relu", ["b"], ["c"]),
        helper.make_node("Gemm", ["c", "opaque"], ["y"], name="head/product"),
    ]
    path = save(tmp_path / "products.onnx", nodes, constants, ["N", 6])

    program = read_and_compare(path, random.normal(size=(3, 6)).astype(np.float32))

    assert [group.layers for group in prunable(program).groups] == [("first",)]
    names = {name for name, _ in program.exported.named_parameters()}
    assert {"first.bias", "head.product.weight"} <= names


def test_padding_that_keeps_the_size_and_sizes_computed_from_shapes(tmp_path: Path) -> None:
    weight = np.random.default_rng(0).normal(size=(4, 3, 3, 3)).astype(np.float32)
    constants = {"w": weight, "zero": np.array(0), "rest": np.array([-1]), "front": np.array([0])}
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], auto_pad="SAME_UPPER", strides=[2, 2]),
        helper.make_node("Shape", ["a"], ["s"]),
        helper.make_node("Gather", ["s", "zero"], ["n"], axis=0),
        helper.make_node("Unsqueeze", ["n", "front"], ["n1"]),
        helper.make_node("Concat", ["n1", "rest"], ["target"], axis=0),
        helper.make_node("Reshape", ["a", "target"], ["y"]),
    ]
    path = save(tmp_path / "same.onnx", nodes, constants, ["N", 3, 8, 8])

    program = read_and_compare(path, np.ones((5, 3, 8, 8), np.float32))

    assert program.signature.outputs[0].shape == (None, 64)


@pytest.mark.parametrize(
    "attributes",
    [
        {"mode": "cubic", "coordinate_transformation_mode": "half_pixel"},
        {"mode": "linear", "coordinate_transformation_mode": "asymmetric"},
        {"mode": "nearest", "coordinate_transformation_mode": "half_pixel", "nearest_mode": "ceil"},
    ],
)
def test_resizing_as_pytorch_does_not(attributes: dict[str, str], tmp_path: Path) -> None:
    constants = {"scales": np.array([1, 1, 1.5, 0.75], np.float32)}
    node = helper.make_node("Resize", ["x", "", "scales"], ["y"], **attributes)
    path = save(tmp_path / "resize.onnx", [node], constants, ["N", 2, 6, 8])

    read_and_compare(path, np.random.default_rng(0).normal(size=(2, 2, 6, 8)).astype(np.float32))


def test_an_unknown_operator_is_named_with_its_node(tmp_path: Path) -> None:
    node = helper.make_node("NonZero", ["x"], ["y"], name="model/where")
    path = save(tmp_path / "unknown.onnx", [node], {}, ["N", 3])

    with pytest.raises(UnsupportedModel) as raised:
        convert.read(path)

    assert "NonZero" in str(raised.value)
    assert "model/where" in str(raised.value)


@pytest.mark.parametrize(
    ("type", "way_out"), [("MatMulInteger", "the float model"), ("NonZero", "cut the model")]
)
def test_what_to_do_about_an_unknown_operator_depends_on_it(type: str, way_out: str, tmp_path: Path) -> None:
    node = helper.make_node(type, ["x", "x"][: 1 + (type != "NonZero")], ["y"])
    path = save(tmp_path / "unknown.onnx", [node], {}, ["N", 3])

    with pytest.raises(UnsupportedModel) as raised:
        convert.read(path)

    assert way_out in raised.value.hint


def test_free_axes_besides_the_batch_ask_for_sizes(tmp_path: Path) -> None:
    path = save(tmp_path / "free.onnx", [helper.make_node("Relu", ["x"], ["y"])], {}, ["N", 3, "H", "W"])

    with pytest.raises(UnsupportedModel, match=r"has dynamic axes \[2, 3\]"):
        convert.read(path)
    assert convert.read(path, {"shape": [3, 4, 4]}).signature.inputs[0].shape == (None, 3, 4, 4)


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"not a model")
    old = save(tmp_path / "old.onnx", [helper.make_node("Relu", ["x"], ["y"])], {}, ["N", 3], opset=9)

    with pytest.raises(BadInput, match="not a valid ONNX model"):
        convert.read(broken)
    with pytest.raises(BadInput, match="opset 9"):
        convert.read(old)
    with pytest.raises(BadInput, match="does not exist"):
        convert.read(tmp_path / "missing.onnx")
    other = tmp_path / "network.caffemodel"
    other.write_bytes(b"not for us")
    with pytest.raises(UnknownName):
        convert.read(other)
