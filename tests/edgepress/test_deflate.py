"""What a network's tensors take behind deflate: zeros nearly nothing, noise nearly everything, a shared tensor once."""

from __future__ import annotations

import zlib

import pytest
import torch
from torch import nn

from edgepress.deflate import deflated_bytes
from edgepress.program import Program


def captured(module: nn.Module) -> Program:
    return Program.capture(module, (torch.randn(2, 64),))


def test_zeros_take_nearly_nothing_and_noise_nearly_everything() -> None:
    torch.manual_seed(0)
    dense = nn.Linear(64, 128, bias=False)
    noise = deflated_bytes(captured(dense))
    assert noise == len(zlib.compress(dense.weight.detach().numpy().tobytes()))
    # The exponents of float32 noise compress a little.
    assert 0.85 < noise / (4 * 64 * 128) < 1
    with torch.no_grad():
        dense.weight.zero_()
    assert deflated_bytes(captured(dense)) < 100


def test_parameters_buffers_and_single_values_count_and_shared_ones_once() -> None:
    torch.manual_seed(0)

    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.other = nn.Linear(64, 64), nn.Linear(64, 64)
            self.other.weight = self.one.weight
            self.norm = nn.BatchNorm1d(64)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.norm(self.other(self.one(x)))

    tied = Tied()
    stored = [*tied.parameters(), *tied.buffers()]
    assert len(stored) == 8
    wanted = sum(len(zlib.compress(value.detach().numpy().tobytes())) for value in stored)
    # The batch norm's counter of batches is an input of nothing and may be left out of the graph.
    assert deflated_bytes(captured(tied)) == pytest.approx(wanted, abs=16)


def test_what_the_network_does_not_read_counts_nothing() -> None:
    class WithSpare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.spare = nn.Linear(64, 8), nn.Linear(64, 64)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.used(x)

    network = WithSpare()
    assert deflated_bytes(captured(network)) == deflated_bytes(captured(network.used))
