"""The counts on the cards against edgepress.cost and against a count of the modules' own making."""

from __future__ import annotations

import math

import pytest
import small_zoo
import torch
from small_zoo import CLASSIFIERS

from edgepress import cost, models
from edgepress.program import Program


def module_counts(network: torch.nn.Module, shape: tuple[int, ...]) -> tuple[int, int]:
    """Parameters and multiply-accumulates of convolutions and linear layers, seen in one forward pass."""
    macs = 0

    def add(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        nonlocal macs
        if isinstance(module, torch.nn.Conv2d):
            taps = module.in_channels // module.groups * math.prod(module.kernel_size)
            macs += output.numel() * taps
        elif isinstance(module, torch.nn.Linear):
            macs += output.numel() * module.in_features

    for module in network.modules():
        module.register_forward_hook(add)
    with torch.inference_mode():
        network.eval()(torch.zeros(1, *shape, device=next(network.parameters()).device))
    return sum(parameter.numel() for parameter in network.parameters()), macs


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_card_holds_the_counts_of_the_network(name: str) -> None:
    card = models.card_of(name)
    forms = [({}, card), *((variant.options, variant) for variant in card.variants)]
    for options, figures in forms:
        counted = module_counts(small_zoo.on_meta(name, **options), small_zoo.card_shape(name))
        assert (figures.parameters, figures.macs) == counted, options


@pytest.mark.parametrize("name", small_zoo.each(CLASSIFIERS))
def test_the_captured_network_costs_what_the_module_does(name: str) -> None:
    card, network = models.card_of(name), models.find(name)()
    measured = cost.measure(Program.capture(network, (torch.zeros(2, *small_zoo.card_shape(name)),)))
    assert (measured.parameters, measured.macs) == (card.parameters, card.macs)
    assert measured.uncounted == ()
