"""Rounding with a view on the layer's output: better there than to nearest, within the integers, zeros kept."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import tiny_networks
import torch
from torch import nn

from edgepress import compress
from edgepress.compress._quantization import learned
from edgepress.compress._quantization.bits import Bits
from edgepress.compress._quantization.learned import best_of_channels
from edgepress.compress._quantization.ranges import Range
from edgepress.compress._quantization.rounding import Rounder, adaround, gptq
from edgepress.compress._quantization.weights import (
    QuantizedWeight,
    WeightOptions,
    nearest,
    pairs_fit,
    weight_scales,
)
from edgepress.compress._reconstruction.least_squares import LeastSquares
from edgepress.compress._reconstruction.moments import Gram, Moments
from edgepress.compress.prune_weights import PruneWeights
from edgepress.compress.quantize_static import QuantizeStatic
from edgepress.program import Program
from edgepress.recipe import Recipe
from edgepress.rules import Rule, Rules

METHODS = pytest.mark.parametrize("method", [gptq, adaround], ids=["gptq", "adaround"])
LIMIT = 7


def problem(
    groups: int = 1, outputs: int = 8, inputs: int = 70
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A weight, the Gram matrix of inputs that a few causes make, and scales for 4 bits."""
    torch.manual_seed(0)
    weight = torch.randn(groups, outputs, inputs, dtype=torch.float64)
    causes = torch.randn(groups, 500, inputs // 3, dtype=torch.float64)
    read = causes @ torch.randn(groups, inputs // 3, inputs, dtype=torch.float64)
    read += 0.1 * torch.randn_like(read)
    return weight, read.mT @ read / 500, weight.abs().amax(2) / LIMIT


def output_error(weight: torch.Tensor, made: torch.Tensor, gram: torch.Tensor, scales: torch.Tensor) -> float:
    off = made * scales[..., None] - weight
    return float(((off @ gram) * off).sum())


@METHODS
@pytest.mark.parametrize("groups", [1, 3])
def test_the_output_departs_less_than_rounded_to_nearest(
    method: Callable[[Moments], Rounder], groups: int
) -> None:
    weight, gram, scales = problem(groups)
    made = method(Gram(gram))(weight, scales, LIMIT)
    nearest = (weight / scales[..., None]).round().clamp(-LIMIT, LIMIT)
    assert made.dtype == torch.int8
    assert made.abs().max() <= LIMIT
    # A third as many causes as inputs: most of an error can be hidden from the output.
    assert output_error(weight, made, gram, scales) < 0.5 * output_error(weight, nearest, gram, scales)


@METHODS
def test_inputs_that_know_nothing_of_each_other_are_rounded_to_nearest(
    method: Callable[[Moments], Rounder],
) -> None:
    weight, _, scales = problem()
    made = method(Gram(torch.eye(70, dtype=torch.float64)[None]))(weight, scales, LIMIT)
    assert made.double().equal((weight / scales[..., None]).round().clamp(-LIMIT, LIMIT))


@METHODS
def test_what_is_not_kept_is_zero_and_dead_inputs_do_no_harm(
    method: Callable[[Moments], Rounder],
) -> None:
    weight, gram, scales = problem()
    gram[:, 5], gram[:, :, 5] = 0, 0
    kept = torch.rand_like(weight) > 0.5
    made = method(Gram(gram))(weight * kept, scales, LIMIT, kept)
    assert not made[~kept].any()
    assert made.abs().max() <= LIMIT
    assert method(Gram(torch.zeros_like(gram)))(weight, scales, LIMIT).abs().max() <= LIMIT


@pytest.mark.parametrize("bits", [4, 8])
def test_the_best_end_of_a_weight_leaves_less_error_than_the_largest(bits: int) -> None:
    torch.manual_seed(0)
    weight, options = torch.randn(16, 400), {"bits": Bits(weights=bits)}
    limit = Bits(weights=bits).weight_limit
    errors = []
    for ranges in ("minmax", "mse"):
        steps = weight_scales(weight, None, Range(0, 1), WeightOptions(ranges=ranges, **options))[:, None]
        errors.append(((weight / steps).round().clamp(-limit, limit) * steps - weight).square().sum(1))
    assert (errors[1] <= errors[0] * (1 + 1e-6)).all()
    assert errors[1].sum() < (0.9 if bits == 4 else 1.0001) * errors[0].sum()


def quantized(program: Program, *rules: Rule, **options: object) -> Program:
    recipe = Recipe((QuantizeStatic(**options),), Rules(rules))
    return compress.apply(program, recipe, tiny_networks.Patches())


def off(program: Program, made: Program) -> float:
    inputs = next(tiny_networks.Patches().batches("evaluate", None)).inputs
    return float(np.square(program.run(*inputs)[0] - made.run(*inputs)[0]).sum())


@pytest.mark.parametrize("network", tiny_networks.NETWORKS)
def test_four_bits_lose_less_when_learned(network: type[nn.Module]) -> None:
    program = tiny_networks.capture(network)
    nearest, learned = (quantized(program, scheme="w4a8", rounding=how) for how in ("nearest", "gptq"))
    for one in (nearest, learned):
        integers = [value for value in one.exported.state_dict.values() if value.dtype == torch.int8]
        assert max(int(value.abs().max()) for value in integers) == LIMIT
    assert off(program, learned) < 0.7 * off(program, nearest)
    figures = learned.history.steps[-1].results["sqnr_db"]
    assert all(after >= before for before, after in figures.values())


def test_a_rule_gives_one_layer_more_bits() -> None:
    program = tiny_networks.capture(tiny_networks.Residual)
    rule = Rule(layer="second", options={"scheme": "int8", "rounding": "nearest"})
    stored = quantized(program, rule, scheme="w4a8").exported.state_dict
    assert int(stored["second.weight"].abs().max()) == 127
    assert int(stored["first.weight"].abs().max()) == LIMIT


def test_the_first_and_last_layers_keep_eight_bits_where_they_shall() -> None:
    program = tiny_networks.capture(tiny_networks.Residual)
    stored = quantized(program, scheme="w4a8", low_ends=False, rounding="nearest").exported.state_dict
    coarse = {
        name.removesuffix(".weight")
        for name, value in stored.items()
        if value.dtype == torch.int8 and int(value.abs().max()) <= LIMIT
    }
    assert coarse == {"first", "second"}


def test_zeros_of_pruned_weights_stay() -> None:
    program = tiny_networks.capture(tiny_networks.Residual)
    pruned = compress.apply(program, Recipe((PruneWeights(sparsity=0.5),)), tiny_networks.Patches())
    zeros = pruned.exported.state_dict["second.weight"] == 0
    assert zeros.any()
    assert not quantized(pruned).exported.state_dict["second.weight"][zeros].any()


def test_headroom_lasts_through_learning() -> None:
    program = tiny_networks.capture(tiny_networks.Residual)
    stored = quantized(program, headroom="all").exported.state_dict
    assert pairs_fit(stored["second.weight"]).all()


def test_the_scale_with_the_least_error_of_the_output_is_taken_channel_by_channel() -> None:
    torch.manual_seed(0)
    inputs, weight = torch.randn(1, 400, 12), torch.randn(3, 12)
    system = LeastSquares(1, 12, 3, has_intercept=False)
    system.add(inputs, inputs @ weight.T)
    exact = nearest(weight, torch.full((3,), 0.05), 127)
    coarse = nearest(weight, torch.full((3,), 0.5), 127)
    mixed = QuantizedWeight(
        torch.cat([exact.values[:1], coarse.values[1:]]), torch.tensor([0.05, 0.5, 0.5]), 127
    )
    best = best_of_channels(system, [coarse, mixed])
    assert best.scales.tolist() == pytest.approx([0.05, 0.5, 0.5])
    assert best.values.equal(mixed.values)


def test_choosing_scales_by_the_output_loses_less_in_the_first_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    program = tiny_networks.capture(tiny_networks.Separable)
    chosen = quantized(program, scheme="w4a8")
    monkeypatch.setattr(learned, "TRIED_SHARES", (1.0,))
    fixed = quantized(program, scheme="w4a8")

    # Later layers read what the earlier ones give, which is not the same any more.
    figures = [next(iter(made.history.steps[-1].results["sqnr_db"].values())) for made in (chosen, fixed)]
    assert figures[0][1] > figures[1][1]
