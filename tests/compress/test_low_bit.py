"""Weights of one and two bits and powers of two: their values, their gradients, what is stored of them, and where."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import tiny_networks
import torch

from edgepress import compress, convert, graph, models
from edgepress.compress._low_bit.activation import approximate_sign
from edgepress.compress._low_bit.binary import DoReFa, binary, dorefa
from edgepress.compress._low_bit.norm import Norm, Spread
from edgepress.compress._low_bit.powers import IncrementalPowers, PowersOfTwo
from edgepress.compress._low_bit.ternary import TrainedTernary, ternary, trained_ternary
from edgepress.compress._quantization.training import QuantizedTraining
from edgepress.compress._quantization.weights import QuantizedWeight
from edgepress.compress.binarize import Binarize
from edgepress.compress.prune_weights import PruneWeights
from edgepress.compress.quantize_aware import QuantizeAware
from edgepress.compress.quantize_incrementally import QuantizeIncrementally
from edgepress.compress.ternarize import Ternarize
from edgepress.errors import BadInput
from edgepress.program import Program
from edgepress.recipe import Recipe
from edgepress.rules import Rule, Rules
from edgepress.stage import Context
from edgepress.trainable import Trainable

QUICK = {"epochs": 1, "samples": 64, "batch_size": 32}
WEIGHT = [[0.5, -0.1, 0.2, -0.4], [-3.0, 3.0, 2.0, -2.0]]


@pytest.fixture(scope="module")
def data() -> tiny_networks.Patches:
    return tiny_networks.Patches(64)


@pytest.fixture(scope="module")
def residual() -> Program:
    return tiny_networks.capture(tiny_networks.Residual)


def run(program: Program, data: tiny_networks.Patches, *stages: QuantizedTraining) -> Program:
    return compress.apply(program, Recipe(stages), data)


def integers(program: Program, layer: str) -> list[int]:
    return program.exported.state_dict[f"{layer}.weight"].unique().tolist()


def test_binary_weights_are_signs_times_the_mean_magnitude_of_their_channel() -> None:
    weight = torch.tensor(WEIGHT, requires_grad=True)
    for through_scale in (True, False):
        made = binary(weight, through_scale)
        torch.testing.assert_close(made, torch.tensor([[0.3, -0.3, 0.3, -0.3], [-2.5, 2.5, 2.5, -2.5]]))


def test_the_gradient_of_xnor_goes_through_the_scale_as_well() -> None:
    """Of 4 weights the scale is the mean: its gradient, the sum of all times their signs, comes back to each as a quarter."""
    gradient = torch.tensor([[1.0, 2.0, 3.0, 4.0]])
    found = {}
    for through_scale in (True, False):
        weight = torch.tensor([WEIGHT[0]], requires_grad=True)
        binary(weight, through_scale).backward(gradient)
        found[through_scale] = weight.grad
    signs = torch.tensor([[1.0, -1.0, 1.0, -1.0]])
    torch.testing.assert_close(found[False], gradient)
    torch.testing.assert_close(found[True], gradient + signs * (1 - 2 + 3 - 4) / 4)


def test_a_weight_that_has_gone_far_has_no_gradient() -> None:
    weight = torch.tensor([[0.1] * 9 + [-1.0]], requires_grad=True)
    binary(weight, False).sum().backward()
    assert weight.grad is not None
    assert weight.grad.tolist() == [[1.0] * 9 + [0.0]], "1 is more than 4 times the mean, 0.19"


def test_pruned_zeros_count_for_nothing() -> None:
    weight = torch.tensor([[0.5, 0.0, -0.1, 0.0]])
    torch.testing.assert_close(binary(weight, True), torch.tensor([[0.3, 0.0, -0.3, 0.0]]))
    torch.testing.assert_close(dorefa(weight, 1), torch.tensor([[0.3, 0.0, -0.3, 0.0]]))
    assert dorefa(weight, 3)[0, 1] == 0


def test_dorefa_has_evenly_spaced_odd_integers_at_the_scale_of_least_error() -> None:
    torch.manual_seed(0)
    weight = torch.randn(4, 4000)
    stored = DoReFa(2).integers(torch.nn.Module(), weight, "")
    assert stored.values.unique().tolist() == [-3, -1, 1, 3]
    torch.testing.assert_close(stored.restored().float(), dorefa(weight, 2))
    error = (dorefa(weight, 2) - weight).square().mean()
    for factor in (0.98, 1.02):
        assert (factor * dorefa(weight, 2) - weight).square().mean() > error
    # Four levels leave 0.1175 of a normal variable at best (Max, 1960), eight 0.0345: the tanh's are not far from these.
    assert 0.1175 < float(error) < 0.135
    assert 0.0345 < float((dorefa(weight, 3) - weight).square().mean()) < 0.055


def test_the_gradient_of_dorefa_is_that_of_the_tanh() -> None:
    weight = torch.tensor([[1.0, -1.0, 1.0, -1.0]], requires_grad=True)
    dorefa(weight, 2).sum().backward()
    torch.testing.assert_close(weight.grad, torch.full((1, 4), 1 - math.tanh(1) ** 2))


def test_ternary_weights_below_the_threshold_are_zero() -> None:
    """Thresholds are 0.7 x 0.3 = 0.21 and 0.7 x 2.5 = 1.75."""
    weight = torch.tensor(WEIGHT, requires_grad=True)
    made = ternary(weight)
    torch.testing.assert_close(made, torch.tensor([[0.45, 0.0, 0.0, -0.45], [-2.5, 2.5, 2.5, -2.5]]))
    made.sum().backward()
    torch.testing.assert_close(weight.grad, torch.ones(2, 4))


def test_trained_ternary_learns_two_scales() -> None:
    weight, unit = torch.tensor(WEIGHT, requires_grad=True), torch.tensor([2.0, 1.0])
    scales = torch.tensor([0.5, 3.0], requires_grad=True)
    made = trained_ternary(weight, scales, unit)
    torch.testing.assert_close(made, torch.tensor([[1.0, 0.0, 0.0, -6.0], [-3.0, 0.5, 0.5, -3.0]]))
    made.backward(torch.tensor([[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]]))
    # Equation 7, over the root of 8 weights; equation 8.
    by_hand = torch.tensor([2 * 1 + 6 + 7, -2 * 4 - 5 - 8]) / math.sqrt(8)
    torch.testing.assert_close(scales.grad, by_hand)
    torch.testing.assert_close(weight.grad, torch.tensor([[0.5, 2.0, 3.0, 12.0], [15.0, 3.0, 3.5, 24.0]]))


@pytest.mark.parametrize("scales", [(1.0, 1.0), (0.7, 1.3), (1.31, 0.67), (1.0, 1e-3)])
def test_two_scales_become_two_integers_in_their_ratio(scales: tuple[float, float]) -> None:
    program = tiny_networks.capture(tiny_networks.Residual)
    module = program.graph_module()
    node = next(node for node in module.graph.nodes if node.target == "first.weight")
    form = TrainedTernary()
    form.insert(module, node, "own")
    with torch.no_grad():
        module.get_parameter("own.scales").copy_(torch.tensor(scales))
    weight = module.get_parameter("first.weight").detach()
    stored = form.integers(module, weight, "own")
    assert len(stored.values.unique()) == 3
    assert int(stored.values.abs().max()) <= 63
    wanted = trained_ternary(weight, torch.tensor(scales), module.get_buffer("own.unit"))
    # The larger is exact; the smaller is off by 1 in 63 squared of it, or is a 63rd where it is less.
    share = 1 / 63 if min(scales) < 1 / 63 else 1 / 63**2
    assert (stored.restored() - wanted).abs().max() <= wanted.abs().max() * share


def test_powers_of_two_are_the_nearest_in_the_papers_sense() -> None:
    weight = torch.tensor([[1.4, -0.7, 0.37, 0.1, 0.06, -1.6]])
    form = PowersOfTwo.of(weight, 4)
    # The largest is 2 to the floor of log2(4 x 1.6 / 3), 1.09; four powers, of which the least is 1/4.
    assert form.smallest.tolist() == [0.25]
    assert form.nearest(weight).tolist() == [[1.0, -0.5, 0.25, 0.0, 0.0, -2.0]]


def test_the_largest_weights_are_held_first_while_the_others_train() -> None:
    module = torch.nn.Linear(8, 1, bias=False)
    with torch.no_grad():
        module.weight.copy_(torch.tensor([[1.3, -0.9, 0.6, 0.5, -0.3, 0.2, 0.1, 0.0]]))
    weight = module.weight
    hook = IncrementalPowers({"weight": PowersOfTwo.of(weight, 4)}, [0.5, 1.0])
    hook.begin(module, 10)
    # The largest is 2 to the floor of log2(1.73). 0.0 counts to the half that is held, as what was pruned.
    first = [1.0, -1.0, 0.5]
    assert weight[0, :3].tolist() == first
    assert not hook.may_end()
    for step in range(1, 11):
        before = weight.detach().clone()
        with torch.no_grad():
            weight.add_(0.01)
        hook.after_step(module, step)
        assert weight[0, :3].tolist() == first
        assert weight[0, 7] == 0
        if step < 5:
            torch.testing.assert_close(weight[0, 3:7], before[0, 3:7] + 0.01)
    assert hook.may_end()
    assert set(weight.detach().abs().flatten().tolist()) <= {0.0, 0.125, 0.25, 0.5, 1.0}


def test_a_bit_of_activation_has_the_gradient_of_two_parabolas() -> None:
    """The step is 2: the threshold is 1, where the triangle is 2 high; it ends at 0 and 2."""
    values = torch.tensor([[-0.5, 0.5, 0.9, 1.1, 1.5, 2.5]], requires_grad=True)
    share, calibrated = torch.tensor(1.0, requires_grad=True), torch.tensor(2.0)
    made = approximate_sign(values, share, calibrated, 0, 1)
    assert made.tolist() == [[0.0, 0.0, 0.0, 2.0, 2.0, 2.0]]
    made.sum().backward()
    torch.testing.assert_close(values.grad, torch.tensor([[0.0, 1.0, 1.8, 1.8, 1.0, 0.0]]))
    assert share.grad is not None
    assert share.grad != 0


@pytest.mark.parametrize(
    ("stage", "expected"),
    [
        (QuantizeAware(weight_bits=1, **QUICK), [-1, 1]),
        (QuantizeAware(weight_bits=2, method="dorefa", **QUICK), [-3, -1, 1, 3]),
        (Binarize(**QUICK), [-1, 1]),
        (Ternarize(**QUICK), [-1, 0, 1]),
        (QuantizeIncrementally(weight_bits=3, **QUICK), [-2, -1, 0, 1, 2]),
    ],
    ids=["dorefa 1", "dorefa 2", "xnor", "twn", "inq 3"],
)
def test_weights_are_stored_as_these_integers_and_the_ends_keep_eight_bits(
    residual: Program, data: tiny_networks.Patches, stage: QuantizedTraining, expected: list[int]
) -> None:
    made = run(residual, data, stage)
    assert integers(made, "first") == integers(made, "second") == expected
    assert len(integers(made, "stem")) > 50
    assert len(integers(made, "head")) > 20
    assert made.precision == "int8"


def test_what_trains_is_what_is_stored(residual: Program, data: tiny_networks.Patches) -> None:
    """Of every form, the network before and after `finish` gives the same."""
    (inputs,) = next(data.batches("evaluate", None)).inputs
    stages = (
        Binarize(samples=64),
        Ternarize(samples=64, method="ttq"),
        QuantizeAware(samples=64, weight_bits=1),
    )
    for stage in stages:
        found, fake, _ = stage.begin(residual, Context(original=residual, load_model=models.load, data=data))
        module = Trainable(found.graph_module)
        for name, value in module.named_parameters():
            if name.endswith("form_2.scales") or name.endswith("form_3.scales"):
                value.data.copy_(torch.tensor([0.8, 1.1]))
        simulated = module(torch.from_numpy(inputs)).detach().numpy()
        fake.finish()
        stored = residual.replace(module).run(inputs)[0]
        # Division and multiplication by the inverse put one value in a million on another integer.
        assert np.square(stored - simulated).sum() < 1e-4 * np.square(simulated).sum()


def test_a_layer_of_few_bits_begins_with_the_mean_and_deviation_it_had_in_float(
    residual: Program, data: tiny_networks.Patches
) -> None:
    """As its norm's statistics are measured on the calibration samples; without, signs of weights are half as large or
    twice as large as what stood there."""
    context = Context(original=residual, load_model=models.load, data=data)
    found, fake, _ = Binarize(samples=64).begin(residual, context)
    fake.finish()
    (inputs,) = next(data.batches("calibrate", None)).inputs
    before, after = (
        {output.layer: output.value for output in graph.layer_outputs(module, [torch.from_numpy(inputs)])}
        for module in (residual.graph_module(), residual.replace(found.graph_module).graph_module())
    )
    second = [one["second"].transpose(1, 0, 2, 3).reshape(16, -1) for one in (before, after)]
    # Of a channel's deviation; activations of 8 bits, and batches of 16 that are normalised one by one, are the rest.
    deviation = second[0].std(1)
    np.testing.assert_allclose(second[1].std(1) / deviation, 1, atol=0.1)
    np.testing.assert_allclose((second[1].mean(1) - second[0].mean(1)) / deviation, 0, atol=0.1)


def test_a_norm_with_negative_factors_folds_into_signs_and_scales() -> None:
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3))
    graph_module = Program.capture(module, (torch.zeros(2, 3, 8, 8),)).graph_module()
    layer = next(node for node in graph.operators(graph_module) if graph.weight_name(node))
    inputs = torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    spread = Spread()
    spread.update(graph_module(inputs))
    norm = Norm.behind(graph_module, layer, spread, "own")
    graph_module.recompile()
    own = graph_module.get_submodule("own")
    with torch.no_grad():
        own.get_parameter("weight").copy_(torch.tensor([1.0, -2.0, 0.5, 0.0]))
        own.get_buffer("mean").copy_(torch.tensor([0.3, -0.2, 0.0, 1.0]))
        own.get_buffer("variance").copy_(torch.tensor([0.5, 2.0, 1.0, 1.0]))
    weight = graph_module.get_parameter("0.weight")
    with torch.no_grad():
        weight.copy_(weight.sign() * 0.25)
    normed = graph_module(inputs)
    stored = QuantizedWeight(weight.detach().sign().to(torch.int8), torch.full((4,), 0.25), 1)
    made, bias = norm.fold(graph_module, stored, graph_module.get_parameter("0.bias"))
    assert (made.scales >= 0).all()
    torch.testing.assert_close(torch.nn.functional.conv2d(inputs, made.restored().float(), bias), normed)


def test_a_shortcut_carries_eight_bits_where_activations_have_one(data: tiny_networks.Patches) -> None:
    residual = tiny_networks.capture(tiny_networks.Residual)
    for method, shortcut in (("bi_real", 8), ("xnor", 1)):
        stage = Binarize(samples=64, activation_bits=1, method=method)
        context = Context(original=residual, load_model=models.load, data=data)
        bits = stage.begin(residual, context)[2]["activation_bits"]
        assert (bits["relu"], bits["relu_1"]) == (shortcut, 1)


def test_rules_and_low_ends_say_which_layers_keep_eight_bits(
    residual: Program, data: tiny_networks.Patches
) -> None:
    rules, said = Rules((Rule(layer="second", options={"int8": True}),)), list[str]()
    context = Context(original=residual, load_model=models.load, data=data, announce=said.append)
    recipe = Recipe((Binarize(low_ends=True, **QUICK),), rules)
    (finished,) = compress.stages(residual, recipe, context)
    made = finished.program
    assert "3 weights get few bits" in said[0]
    assert "not inference faster" in said[0]
    bits = made.history.steps[-1].results["weight_bits"]
    assert bits == {"stem": 1, "first": 1, "second": 8, "head": 1}
    assert integers(made, "stem") == [-1, 1]
    assert len(integers(made, "second")) > 50


def test_pruned_weights_stay_zero(residual: Program, data: tiny_networks.Patches) -> None:
    pruned = compress.apply(residual, Recipe((PruneWeights(sparsity=0.5),)), data)
    for stage in (Binarize(**QUICK), QuantizeIncrementally(**QUICK)):
        made = compress.apply(pruned, Recipe((stage,)), data)
        zero = pruned.exported.state_dict["first.weight"] == 0
        stored = made.exported.state_dict["first.weight"]
        assert zero.any()
        assert not stored[zero].any()


def test_a_bit_takes_a_bit_on_the_disk(tmp_path: Path) -> None:
    """Of a layer of 65,536 weights: beside the file of the same network whose weights are all zero."""
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(256, 256), torch.nn.ReLU(), torch.nn.Linear(256, 4))
    program = Program.capture(module, (torch.zeros(2, 256),))
    for form, most in ((DoReFa(1), 1.02), (TrainedTernary(), 1.6)):
        graph_module = program.graph_module()
        node = next(node for node in graph_module.graph.nodes if node.target == "0.weight")
        form.insert(graph_module, node, "own")
        weight = graph_module.get_parameter("0.weight").detach()
        stored = form.integers(graph_module, weight, "own").values
        sizes = []
        for values in (stored, torch.zeros_like(stored)):
            graph_module = program.graph_module()
            graph.set_constant(graph_module, "0.weight", values.float())
            one = convert.to(program.replace(graph_module), "epz", tmp_path / "model.epz")
            sizes.append(one.manifest.size_bytes)
        assert 8 * (sizes[0] - sizes[1]) / weight.numel() < most


def test_a_training_without_a_teacher_needs_labels_before_it_begins(residual: Program) -> None:
    with pytest.raises(BadInput, match="needs labels"):
        compress.check(residual, Recipe((Binarize(teacher="none"),)), tiny_networks.unlabelled(64))
    compress.check(residual, Recipe((Binarize(),)), tiny_networks.unlabelled(64))
