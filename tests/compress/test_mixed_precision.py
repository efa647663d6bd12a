from __future__ import annotations

import itertools

import numpy as np
import pytest
import tiny_networks

from edgepress import compress
from edgepress.compress._mixed.choices import Choice, Front
from edgepress.compress.mixed_precision import MixedPrecision
from edgepress.compress.quantize_static import QuantizeStatic
from edgepress.errors import BadOption, BudgetMissed
from edgepress.program import Program
from edgepress.recipe import Recipe
from edgepress.rules import Rule, Rules

NEAREST = QuantizeStatic(rounding="nearest", samples=32)


def mixed(*rules: Rule, **options: object) -> Program:
    stage = MixedPrecision(**{"samples": 16, "quantize": NEAREST, **options})
    program = tiny_networks.capture(tiny_networks.Concatenated)
    return compress.apply(program, Recipe((stage,), Rules(rules)), tiny_networks.Patches())


def random_layers(seed: int) -> list[list[Choice]]:
    random = np.random.default_rng(seed)
    return [
        [Choice(str(bits), size * bits, 0.0 if bits == 32 else random.random() / bits) for bits in (32, 8, 4)]
        for size in random.integers(1, 50, 6).tolist()
    ]


def best_of_all(layers: list[list[Choice]], cost: float) -> float:
    everything = itertools.product(*layers)
    return min(
        sum(choice.noise for choice in chosen)
        for chosen in everything
        if sum(choice.cost for choice in chosen) <= cost
    )


@pytest.mark.parametrize("seed", range(3))
def test_the_choice_is_the_best_of_all_within_the_cost(seed: int) -> None:
    layers = random_layers(seed)
    front = Front(layers)
    cost = 0.3 * sum(choices[0].cost for choices in layers)
    chosen = front.within_cost(cost)
    assert chosen is not None
    assert sum(choice.cost for choice in chosen) <= cost
    # Costs are rounded up to 4096ths: between the best of all at this cost and at 0.2 % less.
    noise = sum(choice.noise for choice in chosen)
    assert best_of_all(layers, cost) <= noise + 1e-12
    assert noise <= best_of_all(layers, cost * 0.995) + 1e-12


def test_the_cheapest_choice_stays_within_the_noise() -> None:
    layers = random_layers(0)
    chosen = Front(layers).within_noise(0.1)
    assert chosen is not None
    assert sum(choice.noise for choice in chosen) <= 0.1
    cheaper = sum(choice.cost for choice in chosen) * 0.99
    assert best_of_all(layers, cheaper) > 0.1
    assert Front(layers).within_cost(1.0) is None


def test_a_budget_of_bytes_is_kept_and_on_record() -> None:
    made = mixed(weight_bytes=0.2)
    results = made.history.steps[-1].results
    assert made.quantized is not None
    assert made.quantized.weight_bits == (4, 8)
    assert 0.125 <= results["share"] <= 0.2
    assert set(results["precisions"]) == {"squeeze", "left", "right", "classifier"}


def test_a_floor_is_kept_and_a_lower_one_takes_less() -> None:
    high, low = (mixed(sqnr_db=floor).history.steps[-1].results for floor in (36.0, 20.0))
    assert high["network_sqnr_db"] >= 36.0
    assert low["network_sqnr_db"] >= 20.0
    assert low["share"] < high["share"]


def test_rules_keep_a_layer_in_float_and_another_at_eight_bits() -> None:
    rules = Rule(layer="squeeze", skip=True), Rule(layer="right", options={"lowest": "int8"})
    results = mixed(*rules, weight_bytes=0.3).history.steps[-1].results
    assert "squeeze" not in results["precisions"]
    assert results["precisions"]["right"] != "w4a8"
    assert any(left["layer"] == "squeeze" for left in results["left_in_float"])


def test_a_budget_of_products_counts_both_factors() -> None:
    results = mixed(bit_macs=0.05).history.steps[-1].results
    assert 8 * 4 / 1024 <= results["share"] <= 0.05


def test_what_cannot_be_met_is_said() -> None:
    with pytest.raises(BudgetMissed, match="cheapest choice"):
        mixed(weight_bytes=0.1)
    with pytest.raises(BudgetMissed, match="reaches 200 dB"):
        mixed(sqnr_db=200.0)


@pytest.mark.parametrize("aims", [{}, {"weight_bytes": 0.2, "sqnr_db": 30.0}])
def test_there_is_one_aim(aims: dict[str, float]) -> None:
    with pytest.raises(BadOption, match="exactly one target"):
        mixed(**aims)
