"""Static int8 quantization as a whole: the graph it makes, its accuracy, rules and refusals."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import shared_data
import tiny_networks
import torch
from torch import nn
from torch.fx import Node

from edgepress import compress, convert, graph, runtime
from edgepress.compress._quantization.calibrators import Calibration
from edgepress.compress.quantize_static import QuantizeStatic
from edgepress.data import Data
from edgepress.data._arrays import ArrayData
from edgepress.errors import BadInput, UnsupportedModel
from edgepress.models import mobilenet_v2, shufflenet
from edgepress.program import Program
from edgepress.recipe import Recipe
from edgepress.rules import Rule, Rules


def noise(shape: tuple[int, ...], count: int = 16, spoil: float | None = None) -> ArrayData:
    """Standard normal pictures of a shape; one value of the fourth is `spoil`."""
    pictures = np.random.default_rng(0).standard_normal((count, *shape)).astype(np.float32)
    if spoil is not None:
        pictures[3, 0, 2, 1] = spoil
    return ArrayData(pictures)


def quantized(program: Program, data: Data, *rules: Rule, **options: object) -> Program:
    return compress.apply(program, Recipe((QuantizeStatic(**options),), Rules(rules)), data)


def sqnr_db(expected: np.ndarray, got: np.ndarray) -> float:
    return 10 * float(np.log10(np.sum(expected**2) / np.sum((expected - got) ** 2)))


def nodes(program: Program, name: str) -> list[Node]:
    return [node for node in graph.operators(program.graph_module()) if graph.op_name(node) == name]


def pair_behind(node: Node) -> tuple[float, int] | None:
    """Scale and zero point of the pair that reads the node."""
    pairs = [user for user in node.users if user.target is graph.QUANTIZE]
    return (pairs[0].args[1], pairs[0].args[2]) if pairs else None


@pytest.mark.parametrize("network", tiny_networks.NETWORKS)
@pytest.mark.parametrize("calibration", get_args(Calibration))
def test_stays_close_to_the_float_network(network: type[nn.Module], calibration: str) -> None:
    program, data = tiny_networks.capture(network), tiny_networks.Patches()
    inputs = next(data.batches("evaluate", None)).inputs
    # 8 bits give about 50 dB a tensor; a handful of layers one behind another leave more than 25.
    assert (
        sqnr_db(program.run(*inputs)[0], quantized(program, data, calibration=calibration).run(*inputs)[0])
        > 25
    )


@pytest.mark.parametrize("format", ["onnx", "tflite"])
def test_a_file_adds_up_to_the_integers_of_the_network(format: str, tmp_path: Path) -> None:
    """Its biases are whole steps: a runtime has nothing left to round, and comes to the same integers."""
    data = tiny_networks.Patches()
    program = quantized(tiny_networks.capture(tiny_networks.Separable), data)
    inputs = next(data.batches("evaluate", None)).inputs
    runtime.find(runtime.runners_of(format)[0]).require()
    with runtime.open(convert.to(program, format, tmp_path / f"model.{format}")) as runner:
        # A single one of the 256 outputs that is a step off leaves 61 dB; biases between steps left 44.
        assert runtime.compare(program.run, runner.run, [inputs]).sqnr_db > 55


def test_every_layer_reads_int8_and_has_a_pair_behind() -> None:
    program = quantized(tiny_networks.capture(tiny_networks.Residual), tiny_networks.Patches())
    assert not nodes(program, "batch_norm"), "folded"
    for layer in (*nodes(program, "conv2d"), *nodes(program, "linear")):
        assert layer.args[0].target is graph.DEQUANTIZE
        assert layer.args[1].target is graph.DEQUANTIZE_CHANNELS
        (reader,) = layer.users
        assert reader.target is graph.QUANTIZE or graph.op_name(reader) == "relu"
    stored = program.exported.state_dict
    assert stored["first.weight"].dtype == torch.int8
    assert int(stored["first.weight"].min()) >= -127
    assert stored["first.bias"].dtype == torch.float32
    assert not stored["first.weight_zero_point"].any()


def test_inputs_and_outputs_carry_pairs() -> None:
    module = quantized(tiny_networks.capture(tiny_networks.Residual), tiny_networks.Patches()).graph_module()
    (start,) = (node for node in module.graph.nodes if node.op == "placeholder")
    (end,) = (node for node in module.graph.nodes if node.op == "output")
    assert [user.target for user in start.users if "sym_size" not in user.name] == [graph.QUANTIZE]
    assert end.all_input_nodes[0].target is graph.DEQUANTIZE


def test_what_only_moves_values_keeps_the_scale() -> None:
    program = quantized(tiny_networks.capture(tiny_networks.Concatenated), tiny_networks.Patches())
    (joined,), (largest,) = (nodes(program, name) for name in ("cat", "max_pool2d"))
    for node in (joined, largest):
        sources = node.args[0] if isinstance(node.args[0], (list, tuple)) else [node.args[0]]
        assert {(source.args[1], source.args[2]) for source in sources} == {pair_behind(node)}


def test_a_tensor_behind_a_relu_uses_all_integers() -> None:
    program = quantized(
        tiny_networks.capture(tiny_networks.Residual), tiny_networks.Patches(), calibration="minmax"
    )
    relu = nodes(program, "relu")[0]
    scale, zero_point = pair_behind(relu)
    assert zero_point == -128
    assert scale > 0


def test_zero_is_exact_even_where_no_value_is_negative_or_positive() -> None:
    class Shifted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Conv2d(3, 4, 3, padding=1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.inner(x)

    data = ArrayData(noise((3, 8, 8)).inputs[0].clip(2, 3))
    program = quantized(Program.capture(Shifted(), (torch.zeros(2, 3, 8, 8),)), data)
    quantize = nodes(program, "quantize_per_tensor")[0]
    assert quantize.args[2] == -128
    assert program.run(data.inputs[0])[0].shape == (16, 4, 8, 8)


def test_dead_channels_and_constant_tensors_never_divide_by_zero() -> None:
    network = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 4, 1), nn.ReLU())
    with torch.no_grad():
        network[0].weight[:3] = 0
        network[0].bias[:2] = 0
        network[0].bias[2] = 1.0
        network[2].weight.zero_()
        network[2].bias.zero_()
    program, data = Program.capture(network, (torch.zeros(2, 3, 8, 8),)), noise((3, 8, 8))
    result = quantized(program, data)
    assert all(
        float(value.min()) > 0
        for name, value in result.exported.state_dict.items()
        if name.endswith("_scale")
    )
    np.testing.assert_array_equal(result.run(data.inputs[0])[0], 0)


def test_a_rule_keeps_a_layer_in_float_and_says_so() -> None:
    program = tiny_networks.capture(tiny_networks.Residual)
    result = quantized(program, tiny_networks.Patches(), Rule(layer="stem", skip=True))
    assert result.exported.state_dict["stem.weight"].dtype == torch.float32
    left = result.history.steps[-1].results["left_in_float"]
    assert {"layer": "stem", "type": "conv2d", "reason": "a rule says so"} in left
    (start,) = (node for node in result.graph_module().graph.nodes if node.op == "placeholder")
    assert not any(user.target is graph.QUANTIZE for user in start.users), "nothing int8 reads the input"


def test_a_rule_changes_the_options_of_one_layer() -> None:
    program, data = tiny_networks.capture(tiny_networks.Residual), tiny_networks.Patches()
    rule = Rule(layer="second", options={"weights": "per_tensor"})
    stored = quantized(program, data, rule).exported.state_dict
    assert len(stored["second.weight_scale"].unique()) == 1
    assert len(stored["first.weight_scale"].unique()) > 1


def test_operators_without_an_int8_form_stay_and_are_reported() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Softplus(), nn.Conv2d(4, 4, 1))
    data = noise((3, 8, 8))
    result = quantized(Program.capture(network, (torch.zeros(2, 3, 8, 8),)), data)
    assert [(left["layer"], left["type"]) for left in result.history.steps[-1].results["left_in_float"]] == [
        ("1", "softplus")
    ]
    assert len([value for value in result.exported.state_dict.values() if value.dtype == torch.int8]) == 2


def test_layers_that_share_a_weight_share_its_int8_form() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Conv2d(3, 3, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.inner(torch.relu(self.inner(x)))

    program, data = Program.capture(Twice(), (torch.zeros(2, 3, 8, 8),)), noise((3, 8, 8))
    result = quantized(program, data)
    assert result.exported.state_dict["inner.weight"].dtype == torch.int8
    assert sqnr_db(program.run(data.inputs[0])[0], result.run(data.inputs[0])[0]) > 30


class Outlier(nn.Module):
    """Its layer reads two channels: one of them has a rare large value, to which the weight is zero or not."""

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.head = nn.Conv2d(2, 1, 1, bias=False)
        self.head.weight = nn.Parameter(torch.tensor([1.0, weight]).view(1, 2, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(x.relu())


def test_the_best_range_is_the_one_that_the_reading_layer_needs() -> None:
    data = noise((2, 8, 8))
    data.inputs[0][:, 1, 0, 0] = 40.0
    ends = []
    for weight in (0.0, 1.0):
        program = quantized(
            Program.capture(Outlier(weight), (torch.zeros(2, 2, 8, 8),)), data, calibration="best"
        )
        scale, _ = pair_behind(nodes(program, "relu")[0])
        ends.append(scale * 255)
    assert ends[0] == pytest.approx(0.85 * ends[1], rel=0.05), "the narrowest that is proposed"
    assert ends[1] == pytest.approx(40, rel=0.1)


def positive(shape: tuple[int, ...]) -> ArrayData:
    """Nothing below zero, so that what weights of one sign lose is lost of one sign."""
    return ArrayData(np.abs(noise(shape).inputs[0]))


class RoundedDown(nn.Module):
    """Each output adds a hundred small weights of one sign, which one large weight makes round to zero. No biases."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(4, 25, 1, bias=False)
        self.head = nn.Conv2d(25, 3, 2, bias=False)
        with torch.no_grad():
            self.first.weight.copy_(torch.rand(25, 4, 1, 1, generator=torch.Generator().manual_seed(0)))
            self.head.weight.fill_(0.003)
            self.head.weight[:, 0, 0, 0] = 1.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.first(x).relu()).mean((2, 3))


@pytest.mark.parametrize("bias_correction", ["analytic", "empirical"])
def test_bias_correction_mends_what_rounding_to_nearest_takes_from_every_weight(bias_correction: str) -> None:
    program, data = Program.capture(RoundedDown(), (torch.zeros(2, 4, 6, 6),)), positive((4, 6, 6))
    plain = {"rounding": "nearest", "calibration": "minmax", "weight_calibration": "minmax"}

    def lost(correction: str) -> np.ndarray:
        given = quantized(program, data, **plain, bias_correction=correction).run(data.inputs[0])[0]
        return given.mean(0) / program.run(data.inputs[0])[0].mean(0) - 1

    assert (lost("none") < -0.2).all()
    # What is left is the rounding of the activations, and a mean over sampled positions.
    assert np.abs(lost(bias_correction)).max() < 0.01


def test_empirical_correction_also_sees_what_clipped_activations_lose() -> None:
    program, data = Program.capture(RoundedDown(), (torch.zeros(2, 4, 6, 6),)), positive((4, 6, 6))
    clipped = Rule(layer="first", options={"calibration": "percentile", "percentile": 51})
    wanted = program.run(data.inputs[0])[0].mean()

    def lost(how: str) -> float:
        made = quantized(
            program, data, clipped, rounding="nearest", calibration="minmax", bias_correction=how
        )
        return float(abs(made.run(data.inputs[0])[0].mean() / wanted - 1))

    assert lost("empirical") < 0.01 < lost("analytic")


@pytest.mark.parametrize("rounding", ["gptq", "adaround", "block"])
def test_learned_rounding_takes_the_correction_that_is_asked_for(rounding: str) -> None:
    program, data = Program.capture(RoundedDown(), (torch.zeros(2, 4, 6, 6),)), positive((4, 6, 6))
    wanted = program.run(data.inputs[0])[0].mean(0)
    for how in ("none", "analytic", "empirical"):
        given = quantized(program, data, rounding=rounding, scheme="w4a8", bias_correction=how)
        assert ("first.bias" in dict(given.module().named_parameters())) == (how != "none")
        off = np.abs(given.run(data.inputs[0])[0].mean(0) / wanted - 1)
        assert (off < 0.01).all() == (how != "none"), "only the rounding of activations may be left"


class Growing(nn.Module):
    """A transposed convolution between two others; with `groups`, or read a second time as a plain one."""

    def __init__(self, groups: int = 1, *, is_shared: bool = False) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(12, 4, 1)
        self.grown, self.is_shared = nn.ConvTranspose2d(16, 12, 4, 2, 1, groups=groups), is_shared

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.grown(torch.relu(self.first(x))))
        if self.is_shared:
            x = torch.conv_transpose2d(torch.conv2d(x, self.grown.weight), self.grown.weight)
        made: torch.Tensor = self.last(x)
        return made


def test_transposed_convolutions_have_scales_along_their_outputs() -> None:
    torch.manual_seed(0)
    program, data = Program.capture(Growing().eval(), (torch.zeros(2, 3, 8, 8),)), noise((3, 8, 8), 32)
    made = quantized(program, data)
    (layer,) = nodes(made, "conv_transpose2d")
    assert graph.arguments(layer.args[1])["axis"] == 1
    assert made.exported.state_dict["grown.weight"].shape == (16, 12, 4, 4)
    assert made.exported.state_dict["grown.weight_scale"].shape == (12,)
    # Three layers, each of about 45 dB.
    assert sqnr_db(program.run(data.inputs[0])[0], made.run(data.inputs[0])[0]) > 35


def test_the_bias_of_a_transposed_convolution_is_corrected_by_what_its_positions_read() -> None:
    """Each position reads a quarter of the kernel: what rounding the whole of it shifts would be four times too much."""
    torch.manual_seed(0)
    module = nn.ConvTranspose2d(64, 8, 4, 2, 1).eval()
    program, data = Program.capture(module, (torch.zeros(2, 64, 6, 6),)), noise((64, 6, 6), 64)
    data.inputs[0][:] += 1  # with a mean, rounding shifts what comes out
    wanted = program.run(data.inputs[0])[0].mean((0, 2, 3))
    off = [
        np.abs(
            quantized(program, data, calibration="minmax", bias_correction=how)
            .run(data.inputs[0])[0]
            .mean((0, 2, 3))
            - wanted
        )
        for how in ("analytic", "none")
    ]
    assert off[0].sum() < off[1].sum() / 2


@pytest.mark.parametrize(
    ("network", "reason"),
    [(Growing(2), "output channels on one axis"), (Growing(is_shared=True), "read by another layer")],
)
def test_transposed_convolutions_without_an_axis_for_their_scales_stay(
    network: nn.Module, reason: str
) -> None:
    program = Program.capture(network.eval(), (torch.zeros(2, 3, 8, 8),))
    made = quantized(program, noise((3, 8, 8)))
    left = {entry["layer"]: entry["reason"] for entry in made.history.steps[-1].results["left_in_float"]}
    assert reason in left["grown"]
    assert made.precision == "int8"


def test_a_quantized_program_is_refused_with_the_way_out() -> None:
    program, data = tiny_networks.capture(tiny_networks.Residual), tiny_networks.Patches()
    with pytest.raises(UnsupportedModel, match="network already is") as caught:
        quantized(quantized(program, data), data)
    assert "float network" in caught.value.hint


def test_nothing_to_quantize_is_refused() -> None:
    program = tiny_networks.capture(tiny_networks.Residual)
    with pytest.raises(UnsupportedModel, match="No layer of this network"):
        quantized(
            program, tiny_networks.Patches(), Rule(type="conv2d", skip=True), Rule(type="linear", skip=True)
        )


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_spoilt_sample_is_named(value: float) -> None:
    program = tiny_networks.capture(tiny_networks.Residual)
    with pytest.raises(BadInput, match="NaN or infinity") as caught:
        quantized(program, noise((3, 16, 16), spoil=value), batch_size=2)
    assert "sample 3" in caught.value.where


def test_no_samples_at_all_are_refused() -> None:
    with pytest.raises(BadInput, match="nothing to calibrate with"):
        quantized(tiny_networks.capture(tiny_networks.Residual), noise((3, 16, 16), count=0))


def test_samples_of_another_shape_are_refused() -> None:
    with pytest.raises(BadInput, match="takes float32 Nx3x16x16"):
        quantized(tiny_networks.capture(tiny_networks.Residual), noise((3, 8, 8)))


@pytest.mark.parametrize("build", [mobilenet_v2.mobilenet_v2, shufflenet.shufflenet_v2])
@pytest.mark.slow
def test_zoo_networks_become_integer_on_onnxruntime(build: type[nn.Module], tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = build(classes=10)
    network(torch.randn(16, 3, 64, 64))
    program = Program.capture(network, (torch.zeros(2, 3, 64, 64),))
    data = noise((3, 64, 64))
    result = quantized(program, data)
    assert result.history.steps[-1].results["left_in_float"] == []
    inputs = data.inputs[0][:4]
    with runtime.open(convert.to(result, "onnx", tmp_path / "model.onnx")) as runner:
        output = runner.run(inputs)[0]
        types = [time.type for time in runner.profile(1)]
    assert "Conv" not in types
    assert types.count("QLinearConv") == len(nodes(result, "conv2d"))
    # Integer kernels round once where the Q/DQ graph rounds a float sum: an output may fall on the next integer.
    scale, _ = pair_behind(nodes(result, "linear")[0])
    assert np.abs(output - result.run(inputs)[0]).max() <= 2.01 * scale


@pytest.mark.slow
def test_squeezenet_keeps_its_accuracy_on_onnxruntime(tmp_path: Path) -> None:
    program, data = shared_data.squeezenet(), shared_data.imagenet_sample()
    artifacts = [
        convert.to(network, "onnx", tmp_path / f"{network.precision}.onnx")
        for network in (program, quantized(program, data, samples=200))
    ]
    answers, labels = (
        [],
        np.concatenate(
            [batch.labels for batch in data.batches("evaluate", program.preprocess, batch_size=16)]
        ),
    )
    for artifact in artifacts:
        with runtime.open(artifact) as runner:
            batches = data.batches("evaluate", program.preprocess, batch_size=16)
            answers.append(np.concatenate([runner.run(*batch.inputs)[0] for batch in batches]))
    before, after = answers
    assert artifacts[1].manifest.size_bytes <= 0.28 * artifacts[0].manifest.size_bytes
    top1 = [100 * float(np.mean(answer.argmax(1) == labels)) for answer in answers]
    assert top1[0] == pytest.approx(66.75, abs=0.13), "one picture of 800 may tip over with the kernels"
    assert top1[0] - top1[1] <= 1.0
    assert np.mean(before.argmax(1) == after.argmax(1)) >= 0.94
    assert sqnr_db(before, after) >= 27.0


@pytest.mark.parametrize(
    ("pooling", "keeps"),
    [
        (nn.AvgPool2d(3, 2, 1), True), (nn.AvgPool2d((3, 2)), False), (nn.AvgPool2d(2), False),
        (nn.AvgPool2d(2, divisor_override=3), True), (nn.AvgPool2d(3, divisor_override=8), False),
        (nn.AdaptiveAvgPool2d(3), True), (nn.AdaptiveAvgPool2d((9, 5)), False), (nn.AdaptiveAvgPool2d(1), False),
    ],
)  # fmt: skip
def test_averages_keep_the_scale_unless_they_fall_halfway_between_its_steps(
    pooling: nn.Module, keeps: bool
) -> None:
    """Those of an odd number of entries; a mean over the picture is of smaller values than those are."""
    network = nn.Sequential(nn.Conv2d(3, 4, 1), pooling)
    program = quantized(Program.capture(network, (torch.zeros(2, 3, 9, 9),)), noise((3, 9, 9)))
    (average,) = nodes(program, "avg_pool2d") + nodes(program, "adaptive_avg_pool2d")
    assert (pair_behind(average) == average.args[0].args[1:3]) == keeps


def test_a_rule_for_a_layer_holds_for_its_output_behind_activation_and_pooling() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 4, 1))
    program, data = Program.capture(network, (torch.zeros(2, 3, 8, 8),)), noise((3, 8, 8))
    rule = Rule(layer="0", options={"calibration": "minmax"})
    options = {"calibration": "percentile", "percentile": 80.0}
    clipped, whole = (quantized(program, data, *rules, **options) for rules in ((), (rule,)))
    (before,), (after,) = (nodes(one, "max_pool2d") for one in (clipped, whole))
    assert pair_behind(after)[0] > 1.5 * pair_behind(before)[0]
    assert pair_behind(nodes(whole, "conv2d")[1]) == pair_behind(nodes(clipped, "conv2d")[1])


@pytest.mark.parametrize("options", [{}, {"rounding": "nearest", "bias_correction": "none"}])
def test_a_bias_is_whole_steps_of_its_layer_as_integer_runtimes_hold_it(options: dict[str, str]) -> None:
    program = quantized(tiny_networks.capture(tiny_networks.Residual), tiny_networks.Patches(), **options)
    module = program.graph_module()
    for layer in (*nodes(program, "conv2d"), *nodes(program, "linear")):
        read, weight = layer.args[:2]
        scales = graph.constant(module, weight.args[1]).double()
        steps = graph.constant(module, layer.args[2]).detach().double() / (scales * read.args[1])
        # The largest are some thousands of steps, of which float32 keeps seven digits.
        torch.testing.assert_close(steps, steps.round(), rtol=0, atol=0.01)


class Siamese(nn.Module):
    """One layer reads two tensors of different means."""

    def __init__(self) -> None:
        super().__init__()
        self.shared, self.head = nn.Conv2d(3, 8, 1), nn.Linear(16, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        both = torch.cat([self.shared(x), self.shared(nn.functional.relu(x))], 1)
        return self.head(both.mean((2, 3)))


def test_the_biases_of_a_shared_layer_are_corrected_for_what_each_reads_in_steps_of_it() -> None:
    program, data = Program.capture(Siamese(), (torch.zeros(2, 3, 8, 8),)), noise((3, 8, 8))
    made = quantized(program, data)
    before, after = program.exported.state_dict, made.exported.state_dict
    weight = before["shared.weight"].double().flatten(1)
    scales = after["shared.weight_scale"].double()
    error = after["shared.weight"].flatten(1) * scales[:, None] - weight
    pictures = torch.from_numpy(data.inputs[0]).double()
    read = {"shared.bias": pictures, "shared.bias_1": pictures.relu()}
    for (name, seen), layer in zip(read.items(), nodes(made, "conv2d"), strict=True):
        step = scales * layer.args[0].args[1]
        wanted = before["shared.bias"] - error @ seen.mean((0, 2, 3))
        torch.testing.assert_close(after[name].double(), (wanted / step).round() * step, rtol=0, atol=1e-7)
