"""Measuring batch-norm statistics anew: they are those of what is read, over all batches and all calls."""

from __future__ import annotations

import torch
from torch import nn

from edgepress.compress._batch_norm import is_needed, reestimated
from edgepress.data import Batch
from edgepress.program import Program


class CalledTwice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(x) + self.norm(3 * x)


def test_statistics_are_those_of_everything_that_is_read() -> None:
    inputs = torch.randn(40, 3, 5, generator=torch.Generator().manual_seed(0)) + 1
    program = Program.capture(CalledTwice(), (inputs,))
    assert is_needed(program)
    batches = [Batch((part.numpy(),)) for part in inputs.split(16)]
    stored = reestimated(program, batches).exported.state_dict
    read = torch.cat([inputs, 3 * inputs]).movedim(1, 0).flatten(1)
    torch.testing.assert_close(stored["norm.running_mean"], read.mean(1))
    torch.testing.assert_close(stored["norm.running_var"], read.var(1, correction=0))


def test_a_norm_without_running_statistics_has_nothing_to_measure() -> None:
    network = nn.Sequential(nn.BatchNorm1d(3, track_running_stats=False))
    assert not is_needed(Program.capture(network, (torch.zeros(2, 3, 5),)))
