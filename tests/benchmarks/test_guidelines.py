"""The four experiments on fast networks: what they keep equal is equal, and what they call a verdict is one."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from edgepress.benchmarks import Measurement
from edgepress.cost import measure
from edgepress.program import Program

SIZE = 8


@pytest.fixture(scope="module")
def networks(suite: Callable[[str], ModuleType]) -> ModuleType:
    return suite("_guidelines")


@pytest.fixture(scope="module")
def guidelines(suite: Callable[[str], ModuleType]) -> ModuleType:
    return suite("guidelines")


def costs(networks: ModuleType, guideline: Any) -> list[Any]:
    return [
        measure(Program.capture(*networks.network(channels, block, SIZE)))
        for _, channels, block in guideline.variants
    ]


@pytest.mark.parametrize("name", ["equal_channels", "groups", "fragments", "element_wise"])
def test_variants_have_equal_macs(networks: ModuleType, name: str) -> None:
    macs = [cost.macs for cost in costs(networks, getattr(networks, name)())]
    assert max(macs) <= 1.012 * min(macs)


@pytest.mark.parametrize("name", ["equal_channels", "groups"])
def test_memory_access_is_the_handbooks_formula(networks: ModuleType, name: str) -> None:
    """h w (c1 + c2) + c1 c2 / g for each convolution, and the biases; and it grows from variant to variant."""
    guideline = getattr(networks, name)()
    accessed = []
    for (_, channels, block), cost in zip(guideline.variants, costs(networks, guideline), strict=True):
        network, _ = networks.network(channels, block, SIZE)
        layers = [layer for layer in network.modules() if hasattr(layer, "in_channels")]
        formula = sum(
            SIZE * SIZE * (layer.in_channels + layer.out_channels)
            + layer.in_channels * layer.out_channels // layer.groups
            + layer.out_channels
            for layer in layers
        )
        assert cost.accessed_elements == formula
        accessed.append(formula)
    assert accessed == sorted(accessed)


@pytest.mark.parametrize(
    ("factors", "verdict"),
    [
        ((1.0, 1.2, 1.4), "holds"),
        ((1.0, 1.2, 0.8), "holds but for number 2"),
        ((1.0, 1.2, 1.0), "holds but for number 2"),
        ((1.0, 0.8, 1.0), "does not hold"),
        ((1.0, 1.0, 1.0), "undecided"),
    ],
)
def test_verdicts(
    guidelines: ModuleType,
    make_measurement: Callable[..., Measurement],
    factors: tuple[float, ...],
    verdict: str,
) -> None:
    base = [1.0, 1.01, 0.99, 1.02] * 25
    cases = [guidelines.Case(f"these: number {number}", None) for number in range(len(factors))]
    found = [
        guidelines.Found(case, "cpu", 1, make_measurement(latency_ms=tuple(factor * value for value in base)))
        for case, factor in zip(cases, factors, strict=True)
    ]
    assert guidelines._verdict(found) == verdict
    missing = guidelines.Found(cases[0], "cpu", 1, None, "not there")
    assert guidelines._verdict([*found, missing]) == "not measured"
