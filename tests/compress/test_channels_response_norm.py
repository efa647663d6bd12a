"""Local response normalisation loses channels exactly: what is left is normalised as before, but for what is gone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from planted_channels import assert_dead_channels_go
from torch import nn

from edgepress import compress, cost, graph
from edgepress.compress._channels.plan import reasons_to_stay
from edgepress.compress._channels.structure import read_structure
from edgepress.compress.prune_channels import PruneChannels, plan_exactly, rewrite
from edgepress.program import Program
from edgepress.recipe import Recipe
from edgepress.response_norm import neighbours_as_layers


def captured(size: int) -> Program:
    """Squares weigh as much as the constant, so that a wrong neighbour shows."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 12, 3), nn.ReLU(), nn.LocalResponseNorm(size, alpha=2.0, beta=0.75, k=1.0), nn.Conv2d(12, 8, 3),
        nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3),
    )  # fmt: skip
    return Program.capture(network, (torch.zeros(2, 3, 12, 12),))


@pytest.mark.parametrize("size", [2, 3, 5])
def test_the_mean_over_neighbours_is_a_convolution(size: int) -> None:
    program = captured(size)
    module = program.graph_module()
    neighbours_as_layers(module)
    assert "avg_pool3d" not in {graph.op_name(node) for node in graph.operators(module)}
    (inputs,) = program.signature.example(3)
    # Five terms in another order.
    np.testing.assert_allclose(
        program.replace(module).run(inputs)[0], program.run(inputs)[0], rtol=1e-5, atol=1e-6
    )


def test_what_pools_otherwise_stays() -> None:
    network = nn.Sequential(
        nn.Conv3d(1, 2, 3, padding=1), nn.AvgPool3d((5, 1, 1), 1, (2, 0, 0)), nn.Flatten()
    )
    module = Program.capture(network, (torch.zeros(2, 1, 6, 6, 6),)).graph_module()
    neighbours_as_layers(module)
    assert "avg_pool3d" in {graph.op_name(node) for node in graph.operators(module)}


def test_dead_channels_go_without_a_trace() -> None:
    program = captured(5)
    assert set(reasons_to_stay(read_structure(program))) == {"7"}
    module = program.graph_module()
    neighbours_as_layers(module)
    program = program.replace(module)  # where the helper finds the neighbours' weight by its name
    pruned, plan = assert_dead_channels_go(program, share=0.4)
    assert cost.measure(pruned).macs == plan.macs_after


def test_a_channel_that_goes_leaves_its_neighbours_where_they_were() -> None:
    """Channel 5 gone, 4 and 6 are two apart still: each is divided by what the others of its five hold."""
    program = captured(5)
    pruned = rewrite(program, plan_exactly(program, {"0": [5]}))
    (inputs,) = program.signature.example(2)
    module = program.graph_module()
    with torch.no_grad():
        module.get_submodule("0").weight[5] = 0
        module.get_submodule("0").bias[5] = 0
    np.testing.assert_allclose(
        pruned.run(inputs)[0], program.replace(module).run(inputs)[0], rtol=1e-5, atol=1e-6
    )


def test_a_budget_is_a_share_of_the_network_as_it_was() -> None:
    """The convolutions over neighbours are part of what stays, not of what there was."""
    program = captured(5)
    pruned = compress.apply(program, Recipe((PruneChannels(macs=0.5, round_to=1),)))
    assert 0.4 < cost.measure(pruned).macs / cost.measure(program).macs <= 0.5
