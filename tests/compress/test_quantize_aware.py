"""Quantization-aware training: its gradients, the network it makes of what it has learned, few bits, refusals."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import tiny_networks
import torch
from torch import nn
from torch.fx import Node

from edgepress import compress, convert, cost, graph, models, runtime
from edgepress.accuracy import evaluate
from edgepress.compress._quantization.few_bits import range_of_step, zero_point
from edgepress.compress._quantization.learned_steps import fake_quantize
from edgepress.compress._quantization.weights import pairs_fit
from edgepress.compress._training.loop import train_module
from edgepress.compress.distill import divergence
from edgepress.compress.fine_tune import FineTune
from edgepress.compress.prune_channels import PruneChannels
from edgepress.compress.prune_weights import PruneWeights
from edgepress.compress.quantize_aware import QuantizeAware
from edgepress.compress.quantize_static import QuantizeStatic
from edgepress.errors import BadInput, BadOption, UnsupportedModel
from edgepress.history import History
from edgepress.program import Program
from edgepress.recipe import Recipe
from edgepress.rules import Rule, Rules
from edgepress.runtime import compare, limit_db
from edgepress.stage import Context
from edgepress.trainable import Trainable

QUICK = {"epochs": 1, "samples": 64, "batch_size": 32}


@pytest.fixture(scope="module")
def data() -> tiny_networks.Patches:
    return tiny_networks.Patches(64)


@pytest.fixture(scope="module")
def residual() -> Program:
    return tiny_networks.capture(tiny_networks.Residual)


@pytest.fixture(scope="module")
def four_bits(residual: Program, data: tiny_networks.Patches) -> Program:
    return trained(residual, data, weight_bits=4, activation_bits=4)


def trained(program: Program, data: tiny_networks.Patches, *rules: Rule, **options: object) -> Program:
    stage = QuantizeAware(**{**QUICK, **options})
    return compress.apply(program, Recipe((stage,), Rules(rules)), data)


def context(program: Program, data: tiny_networks.Patches) -> Context:
    return Context(original=program, load_model=models.load, data=data)


def pairs(program: Program) -> dict[str, tuple[float, int]]:
    """The scale and zero point behind each tensor."""
    found = {}
    for node in graph.operators(program.graph_module()):
        if node.target is graph.QUANTIZE and isinstance(node.args[0], Node):
            found[node.args[0].name] = node.args[1:3]
    return found


def test_the_gradient_of_a_weights_step_is_the_papers() -> None:
    """The step is 0.5 x 0.5: the values stand at 1.2, -3.6, 2.4 and -0.2 steps, of which -2 to 2 are there.

    Inside, the slope is the rounded value less the value, outside the end; 4 values, and Qp is 2.
    """
    values = torch.tensor([[0.3, -0.9, 0.6, -0.05]], requires_grad=True)
    share, calibrated = torch.tensor([0.5], requires_grad=True), torch.tensor([0.5])
    made = fake_quantize(values, share, calibrated, -2, 2)
    torch.testing.assert_close(made, torch.tensor([[0.25, -0.5, 0.5, 0.0]]))
    made.backward(torch.tensor([[1.0, 2.0, 3.0, 4.0]]))
    step = (1 * -0.2 + 2 * -2 + 3 * 2 + 4 * 0.2) / math.sqrt(4 * 2)
    torch.testing.assert_close(share.grad, torch.tensor([step / 0.5]))
    torch.testing.assert_close(values.grad, torch.tensor([[1.0, 0.0, 0.0, 4.0]]))


def test_an_activations_step_is_one_and_its_size_that_of_a_sample() -> None:
    """Two samples of two values: N is 2. Gradient descent moves the step by rate x gradient, whatever it started from."""
    values = torch.tensor([[0.4, 1.6], [0.6, 9.0]])
    for calibrated in (1.0, 0.25):
        share = torch.tensor(1.0 / calibrated, requires_grad=True)
        fake_quantize(values, share, torch.tensor(calibrated), 0, 3).sum().backward()
        by_hand = (-0.4 + 0.4 + 0.4 + 3) / math.sqrt(2 * 3)
        moved = -0.1 * share.grad * calibrated
        torch.testing.assert_close(moved, torch.tensor(-0.1 * by_hand))


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_the_integers_are_the_trained_weights_in_learned_steps(
    residual: Program, data: tiny_networks.Patches, optimizer: str
) -> None:
    stage = QuantizeAware(**QUICK, weight_bits=4, activation_bits=4, optimizer=optimizer, learning_rate=3e-3)
    found, fake, bits = stage.begin(residual, context(residual, data))
    module = Trainable(found.graph_module)
    train_module(
        module, residual, stage, context(residual, data), stage.loss(residual, context(residual, data)), fake
    )
    weights = {name: value.detach().clone() for name, value in module.named_parameters()}
    learned = {layer.node: fake._weights[layer].form.steps.step(module) for layer in fake._weights}
    steps = {tensor.name: quantizer.step(module).item() for tensor, quantizer in fake._activations.items()}
    inputs = next(data.batches("evaluate", None)).inputs
    module.eval()
    simulated = module(*map(torch.from_numpy, inputs)).detach().numpy()

    fake.finish()
    program = residual.replace(module)
    stored = program.exported.state_dict | dict(program.exported.constants)
    for node, step in learned.items():
        name = f"{graph.layer_name(node)}.weight"
        limit = 2 ** (bits["weight_bits"][graph.layer_name(node)] - 1) - 1
        shape = (-1,) + (1,) * (weights[name].dim() - 1)
        expected = (weights[name].double() / step.double().view(shape)).round().clamp(-limit, limit)
        assert stored[name].dtype == torch.int8
        assert stored[name].equal(expected.to(torch.int8))
        assert stored[f"{name}_scale"].equal(step)
    assert {name: scale for name, (scale, _) in pairs(program).items()} == steps
    assert pairs(program)["relu"][1] == zero_point(4)
    noise = np.square(program.run(*inputs)[0] - simulated).sum()
    # Division and multiplication by the inverse put one value in a million on another integer.
    assert noise < 1e-4 * np.square(simulated).sum()


def test_what_int8_must_share_is_learned_as_one(data: tiny_networks.Patches) -> None:
    program = tiny_networks.capture(tiny_networks.Concatenated)
    start = pairs(compress.apply(program, Recipe((QuantizeStatic(samples=64, rounding="nearest"),)), data))
    found = pairs(trained(program, data, learning_rate=0.05))
    assert found["relu_1"] == found["relu_2"] == found["cat"]
    assert found["relu_1"] != start["relu_1"], "it was learned"
    assert found["pictures"] == start["pictures"], "an input's is not"


def test_few_bits_clip_where_int8_ends() -> None:
    range = range_of_step(0.25, zero_point(4))
    assert (range.scale, range.zero_point) == (0.25, 112)
    assert range.maximum == 15 * 0.25


class Averaged(nn.Sequential):
    """An average in the scale of what it reads, for it divides by 9."""

    def __init__(self) -> None:
        layers = nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AvgPool2d(3, 1, 1), nn.Conv2d(8, 8, 1), nn.ReLU()
        super().__init__(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, tiny_networks.CLASSES))


def test_few_bits_are_for_what_is_neither_signed_nor_averaged(data: tiny_networks.Patches) -> None:
    stage = QuantizeAware(samples=64, activation_bits=4, low_ends=True)
    for network, few in (
        (tiny_networks.Concatenated, {"relu", "max_pool2d"}),
        (Averaged, {"adaptive_avg_pool2d", "flatten"}),
    ):
        program = tiny_networks.capture(network)
        bits = stage.begin(program, context(program, data))[2]["activation_bits"]
        assert bits == {name: 4 if name in few else 8 for name in bits}, (
            "the others are signed, averaged, or read by no layer"
        )
    residual = tiny_networks.capture(tiny_networks.Residual)
    bits = stage.begin(residual, context(residual, data))[2]["activation_bits"]
    assert (bits["relu"], bits["conv2d_2"], bits["pictures"]) == (4, 8, 8)


def test_training_regains_what_few_bits_lose() -> None:
    data = tiny_networks.Patches(256)
    options = {"weight_bits": 2, "activation_bits": 2, "low_ends": True}
    learning = FineTune(epochs=4, learning_rate=0.05, batch_size=32)
    teacher = compress.apply(tiny_networks.capture(tiny_networks.Concatenated), Recipe((learning,)), data)
    teacher = dataclasses.replace(teacher, history=History())
    found, fake, _ = QuantizeAware(samples=64, **options).begin(teacher, context(teacher, data))
    fake.finish()
    inputs = next(data.batches("evaluate", None)).inputs
    program = trained(teacher, data, **options, epochs=3)
    wanted, before, after = (
        torch.from_numpy(one.run(*inputs)[0])
        for one in (teacher, teacher.replace(found.graph_module), program)
    )
    lost, left = (float(divergence(one, wanted, 4.0)) for one in (before, after))
    assert left < 0.1 * lost
    assert evaluate(program.run, data, None).top1 > 97


@pytest.mark.parametrize("format", ["onnx", pytest.param("tflite", marks=pytest.mark.tflite)])
def test_few_bits_run_as_they_were_trained(
    four_bits: Program, data: tiny_networks.Patches, format: str, tmp_path: Path
) -> None:
    artifact = convert.to(four_bits, format, tmp_path / f"model.{format}")
    batches = [batch.inputs for batch in data.batches("evaluate", None)]
    with runtime.open(artifact) as runner:
        comparison = compare(four_bits.run, runner.run, batches)
    comparison.require(limit_db(four_bits.precision, artifact.manifest.precision), where=str(artifact.path))


def test_pruned_channels_stay_away_and_pruned_weights_stay_zero(
    residual: Program, data: tiny_networks.Patches
) -> None:
    stages = (PruneChannels(macs=0.6), PruneWeights(sparsity=0.5))
    pruned = compress.apply(residual, Recipe(stages), data)
    program = compress.apply(residual, Recipe((*stages, QuantizeAware(**QUICK))), data)
    assert program.history.names() == ("prune_channels", "prune_weights", "quantize_aware")
    assert cost.measure(program).macs == cost.measure(pruned).macs < 0.7 * cost.measure(residual).macs
    zeros = pruned.exported.state_dict["second.weight"] == 0
    assert zeros.any()
    stored = program.exported.state_dict["second.weight"]
    assert stored.dtype == torch.int8
    assert not stored[zeros].any()


def test_headroom_lasts_through_training(residual: Program, data: tiny_networks.Patches) -> None:
    stored = trained(residual, data, learning_rate=0.05, headroom="all").exported.state_dict
    assert all(pairs_fit(stored[f"{name}.weight"]).all() for name in ("second", "first", "head"))
    free = trained(residual, data, headroom="none").exported.state_dict
    assert not pairs_fit(free["first.weight"]).all()


def test_rules_give_bits_to_single_layers_and_keep_others_in_float(
    residual: Program, data: tiny_networks.Patches
) -> None:
    rules = (
        Rule(layer="second", options={"weight_bits": 3}),
        Rule(layer="first", stage="quantize_aware", skip=True),
    )
    program = trained(residual, data, *rules, weight_bits=5)
    assert int(program.exported.state_dict["second.weight"].abs().max()) == 3
    assert program.exported.state_dict["first.weight"].dtype == torch.float32
    results = program.history.steps[-1].results
    assert results["weight_bits"] == {"stem": 8, "second": 3, "head": 7}, "the ends keep 8, less the headroom"
    assert {"layer": "first", "type": "conv2d", "reason": "a rule says so"} in results["left_in_float"]


def test_a_step_stays_positive_and_a_bias_within_int32(
    residual: Program, data: tiny_networks.Patches
) -> None:
    found, fake, _ = QuantizeAware(samples=64).begin(residual, context(residual, data))
    module = Trainable(found.graph_module)
    with torch.no_grad():
        for name, value in module.named_parameters():
            if "share" in name:
                value.fill_(-1.0)
        module.get_parameter("second.bias")[0] = 1e6
    fake.after_epoch(module, 1)
    assert all(quantizer.step(module).min() > 0 for quantizer in fake._activations.values())
    weights = {weight.name: weight for weight in fake._weights.values()}
    second = weights["second.weight"]
    in_steps = 1e6 / (second.inputs.step(module) * second.form.steps.step(module)[0])
    assert in_steps.item() == pytest.approx(2**30, rel=1e-5)


def test_each_reader_of_a_weight_has_a_bias_in_whole_steps_of_its_own(data: tiny_networks.Patches) -> None:
    program = trained(tiny_networks.capture(tiny_networks.Levels), data, teacher="self")
    module = program.graph_module()
    layers = [node for node in graph.operators(module) if node.target in graph.WEIGHTED]
    assert len({layer.args[2].target for layer in layers}) == 5
    for layer in layers:
        scales = graph.constant(module, layer.args[1].args[1]).double()
        steps = graph.constant(module, layer.args[2]).detach().double() / (scales * layer.args[0].args[1])
        torch.testing.assert_close(steps, steps.round(), rtol=0, atol=0.01)  # float32 keeps seven digits


def test_one_gradient_throws_no_step_far(residual: Program, data: tiny_networks.Patches) -> None:
    found, fake, _ = QuantizeAware(samples=64).begin(residual, context(residual, data))
    module = Trainable(found.graph_module)
    before = {tensor: quantizer.step(module) for tensor, quantizer in fake._activations.items()}
    module.get_parameter("first.weight").grad = torch.full_like(module.get_parameter("first.weight"), 1e3)
    fake.before_step(module, 1)
    assert float(module.get_parameter("first.weight").grad.norm()) == pytest.approx(1, rel=1e-4)
    with torch.no_grad():
        for name, value in module.named_parameters():
            if "share" in name:
                value.mul_(100.0)
    fake.after_step(module, 1)
    moved = {
        tensor.name: float(fake._activations[tensor].step(module) / step) for tensor, step in before.items()
    }
    assert moved.pop("pictures") == 1, "an input's step is not learned"
    assert list(moved.values()) == pytest.approx([1.02] * len(moved))


def test_labels_alone_and_what_is_refused(residual: Program, data: tiny_networks.Patches) -> None:
    labelled = trained(residual, data, teacher="none")
    assert labelled.precision == "int8"
    with pytest.raises(BadInput, match="no labels"):
        compress.check(residual, Recipe((QuantizeAware(teacher="none"),)), tiny_networks.unlabelled(64))
    assert trained(residual, tiny_networks.unlabelled(64)).precision == "int8", "a teacher needs none"
    for bits in (0, 9):
        with pytest.raises(BadOption, match=f"weight_bits={bits}"):
            trained(residual, data, weight_bits=bits)
    with pytest.raises(UnsupportedModel, match="float weights"):
        compress.check(labelled, Recipe((QuantizeAware(),)), data)
    with pytest.raises(UnsupportedModel, match="before the quantization|float weights"):
        compress.check(residual, Recipe((QuantizeAware(), PruneWeights(sparsity=0.5))), data)
