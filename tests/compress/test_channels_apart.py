"""Grouped convolutions taken apart: the same network, in which every channel is free."""

from __future__ import annotations

import numpy as np
import pytest
import tiny_networks
import torch
from planted_channels import assert_dead_channels_go
from torch import nn

from edgepress import compress, cost, graph
from edgepress.compress._channels.apart import without_groups
from edgepress.compress._channels.plan import reasons_to_stay
from edgepress.compress._channels.structure import read_structure
from edgepress.compress.prune_channels import PruneChannels
from edgepress.program import Program
from edgepress.recipe import Recipe


class Uneven(nn.Module):
    """Three groups of ten channels, shuffled: ten is no multiple of three, so places tie with places until all are one."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 24, 3, padding=1)
        self.squeeze = nn.Sequential(
            nn.Conv2d(24, 30, 1, groups=3, bias=False), nn.BatchNorm2d(30), nn.ReLU()
        )
        self.shuffle = nn.ChannelShuffle(3)
        self.each = nn.Conv2d(30, 30, 3, padding=1, groups=30)
        self.expand = nn.Conv2d(30, 24, 1, groups=3)
        self.again = nn.Conv2d(24, 30, 3, padding="same", groups=3)
        self.head = nn.Linear(30, 3)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        features = torch.relu(self.stem(pictures))
        features = torch.relu(features + self.expand(self.each(self.shuffle(self.squeeze(features)))))
        return self.head(self.shuffle(torch.relu(self.again(features))).mean((2, 3)))


@pytest.fixture(scope="module")
def program() -> Program:
    torch.manual_seed(0)
    return Program.capture(Uneven().eval(), (torch.zeros(2, 3, 12, 12),))


def test_taken_apart_it_is_the_same_network(program: Program) -> None:
    apart = without_groups(program)
    (inputs,) = program.signature.example(5)
    np.testing.assert_allclose(apart.run(inputs)[0], program.run(inputs)[0], rtol=1e-5, atol=1e-6)
    before, after = cost.measure(program), cost.measure(apart)
    assert (after.macs, after.parameters) == (before.macs, before.parameters)
    groups = {
        graph.layer_name(node)
        for node in graph.operators(apart.graph_module())
        if "conv" in graph.op_name(node)
    }
    assert groups == {"stem", "each"} | {
        f"{layer}.group{number}" for layer in ("squeeze.0", "expand", "again") for number in range(3)
    }
    assert without_groups(apart) is apart


def test_every_channel_is_free(program: Program) -> None:
    apart = without_groups(program)
    assert "squeeze.0" in reasons_to_stay(read_structure(program))
    assert set(reasons_to_stay(read_structure(apart))) == {"head"}
    assert_dead_channels_go(apart, share=0.4)


def test_the_stage_takes_apart_what_it_is_given(program: Program) -> None:
    pruned = compress.apply(
        program, Recipe((PruneChannels(macs=0.5, round_to=2, parts="apart"),)), tiny_networks.Patches(64)
    )
    assert 0.4 < cost.measure(pruned).macs / cost.measure(program).macs <= 0.5
    assert pruned.run(*pruned.signature.example(3))[0].shape == (3, 3)
