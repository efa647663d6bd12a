"""A captured graph as a module to train: its two modes, and the memory layouts it takes."""

from __future__ import annotations

import torch
from torch import nn

from edgepress.program import Program

INPUT = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def test_norms_without_running_statistics_stay_as_they_are_in_both_modes() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.InstanceNorm2d(8), nn.BatchNorm2d(8, track_running_stats=False)
    ).eval()
    module = Program.capture(network, (INPUT,)).module()
    for mode in (True, False):
        torch.testing.assert_close(module.train(mode)(INPUT), network(INPUT))


class Flattening(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 8, 3), nn.Linear(8 * 36, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x)
        return self.head(x.view(x.size(0), -1))


def test_a_network_with_views_takes_pictures_channels_last() -> None:
    network = Flattening().eval()
    module = Program.capture(network, (INPUT,)).module().train()
    found = module(INPUT.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(found, network(INPUT))
    found.sum().backward()
    assert all(parameter.grad is not None for parameter in module.parameters())


class WritesThroughView(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x * 2
        y.view(-1, 192).relu_()
        return y


def test_a_view_that_is_written_through_stays_a_view() -> None:
    module = Program.capture(WritesThroughView(), (INPUT,)).module()
    torch.testing.assert_close(module(INPUT), (INPUT * 2).relu())
