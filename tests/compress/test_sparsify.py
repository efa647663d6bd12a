"""Sparsity training: the penalty is its formula, acts on what can go and nothing else, and makes channels small."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tiny_networks
import torch
from torch import nn

from edgepress import compress, models, options
from edgepress.compress._channels.penalty import ChannelPenalty
from edgepress.compress._channels.structure import bundles_of_classes, read_structure
from edgepress.compress.sparsify import Sparsify
from edgepress.errors import BadOption, UnsupportedModel, UsageError
from edgepress.program import Program
from edgepress.recipe import Recipe
from edgepress.rules import Rule, Rules
from edgepress.stage import Context
from edgepress.trainable import Trainable


@pytest.fixture(scope="module")
def residual() -> Program:
    return tiny_networks.capture(tiny_networks.Residual)


@pytest.fixture(scope="module")
def separable() -> Program:
    return tiny_networks.capture(tiny_networks.Separable)


def penalty(program: Program, kind: str, strength: float = 0.5) -> tuple[ChannelPenalty, Trainable]:
    structure = read_structure(program)
    strengths = np.zeros(structure.labelling.count)
    strengths[np.concatenate(bundles_of_classes(structure))] = strength
    return ChannelPenalty(structure, kind, strengths), program.module()


def gradients(value: torch.Tensor, module: Trainable) -> dict[str, torch.Tensor | None]:
    names, parameters = zip(*module.named_parameters(), strict=True)
    return dict(zip(names, torch.autograd.grad(value, parameters, allow_unused=True), strict=True))


def assert_same(module: Trainable, found: torch.Tensor, formula: torch.Tensor) -> None:
    torch.testing.assert_close(found, formula, rtol=1e-5, atol=1e-6)  # float32 sums in another order
    expected = gradients(formula, module)
    for name, gradient in gradients(found, module).items():
        wanted = expected[name]
        if gradient is None or wanted is None:
            assert not any(one.any() for one in (gradient, wanted) if one is not None), name
        else:
            torch.testing.assert_close(gradient, wanted, rtol=1e-4, atol=1e-6)


def test_bn_scale_is_the_sum_of_absolute_scales(separable: Program) -> None:
    """Expansion and depthwise layer lose their channels together; the scales of both count."""
    hook, module = penalty(separable, "bn_scale")
    scales = [module.get_parameter(f"{name}.1.weight") for name in ("expand", "depthwise", "project")]
    assert_same(module, hook.penalty(module), 0.5 * torch.stack([one.abs().sum() for one in scales]).sum())


def test_group_lasso_takes_tied_layers_as_one_group(residual: Program) -> None:
    """The stem and the layer that is added to it make the same 16 channels; the head must stay."""
    hook, module = penalty(residual, "group_lasso")
    get = module.get_parameter

    def group(*names: str) -> torch.Tensor:
        parts = torch.cat([get(name).reshape(len(get(name)), -1) for name in names], 1)
        return (parts.shape[1] * parts.square().sum(1)).sqrt().sum()

    shared = group("stem.weight", "stem.bias", "second.weight", "second.bias")
    inner = group("first.weight", "norm.weight", "norm.bias")
    assert_same(module, hook.penalty(module), 0.5 * (shared + inner))


def test_a_group_of_zeros_has_a_gradient_of_zero(residual: Program) -> None:
    hook, module = penalty(residual, "group_lasso")
    with torch.no_grad():
        for name in ("first.weight", "norm.weight", "norm.bias"):
            module.get_parameter(name).zero_()
    found = gradients(hook.penalty(module), module)
    assert all(gradient.isfinite().all() for gradient in found.values() if gradient is not None)
    assert found["first.weight"] is not None
    assert not found["first.weight"].any()


@pytest.mark.parametrize(("kind", "strength"), [("bn_scale", 1.0), ("group_lasso", 0.05)])
def test_channels_shrink_under_the_penalty(separable: Program, kind: str, strength: float) -> None:
    data, hook = tiny_networks.Patches(64), penalty(separable, kind)[0]
    plain = Sparsify(penalty=kind, strength=0, epochs=6, learning_rate=0.05, batch_size=16)
    sparse = dataclasses.replace(plain, strength=strength)
    without, trained = (compress.apply(separable, Recipe((given,)), data) for given in (plain, sparse))
    left, kept = (hook.magnitudes(one.module()).sum().item() for one in (trained, without))
    assert left < 0.75 * kept
    results = trained.history.steps[-1].results
    assert results["best_epoch"] == 6, "the last epoch is the result, whatever is more accurate"
    assert results["channels"] == 48


def test_small_channels_are_counted(separable: Program) -> None:
    hook, module = penalty(separable, "bn_scale")
    assert hook.small(module) == 0
    with torch.no_grad():
        for name, channels in (("expand", [3, 5]), ("depthwise", [3, 5, 6]), ("project", [0])):
            module.get_parameter(f"{name}.1.weight")[channels] = 1e-3
    assert hook.small(module) == 2 + 1, "channel 6 still has the scale of its other layer"


def test_rules_set_the_strength_of_a_layer(residual: Program) -> None:
    structure = read_structure(residual)
    context = Context(
        original=residual,
        load_model=models.load,
        rules=Rules((Rule(layer="second", skip=True), Rule(layer="first", options={"strength": 0.25}))),
    )
    strengths = Sparsify(strength=0.5)._strengths(structure, context)
    layers = {layer.name: layer for layer in structure.layers}
    assert set(strengths[layers["stem"].outputs]) == {0.0}, "its channels go with those of the skipped layer"
    assert set(strengths[layers["first"].outputs]) == {0.25}


def test_what_is_refused(residual: Program) -> None:
    data = tiny_networks.Patches(64)
    plain = tiny_networks.capture(tiny_networks.Concatenated)
    with pytest.raises(UnsupportedModel, match="has a batch-norm") as raised:
        compress.check(plain, Recipe((Sparsify(penalty="bn_scale"),)), data)
    assert raised.value.hint == "penalty=group_lasso"
    compress.check(plain, Recipe((Sparsify(penalty="group_lasso"),)), data)
    with pytest.raises(BadOption, match="strength=-1"):
        options.build(Sparsify, options.parse("-1", shorthand=Sparsify.shorthand))
    with pytest.raises(UsageError, match="needs data to train with"):
        compress.check(residual, Recipe((Sparsify(),)), None)
    frozen = Program.capture(nn.Sequential(nn.Flatten(), nn.Linear(12, 4)), (torch.randn(2, 3, 4),))
    with pytest.raises(UnsupportedModel, match="No channel of this network"):
        Sparsify().check(frozen)
