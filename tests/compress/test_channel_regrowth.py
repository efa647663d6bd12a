"""Channels that are cut off: the network computes what the pruned one would, and training can bring them back."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from awkward_networks import NETWORKS
from torch import nn
from torch.nn import functional

from edgepress.compress._channels.regrowth import as_read, cut_off
from edgepress.compress.prune_channels import PruneChannels, plan_exactly, rewrite
from edgepress.program import Program
from edgepress.stage import Context

AWKWARD = ("residual", "depthwise", "squeeze_excite", "shuffle_by_view", "tied_decoder", "pixel_shuffled")


def context(program: Program) -> Context:
    return Context(original=program, load_model=lambda name: program)


@pytest.mark.parametrize("name", AWKWARD)
def test_cut_off_computes_what_removed_computes(name: str) -> None:
    program = Program.capture(*NETWORKS[name]())
    plan = PruneChannels(macs=0.6, round_to=1).plan(program, context(program))
    inputs = program.signature.example(3)
    still_there, gone = cut_off(program, plan), rewrite(program, plan)
    shapes = {key: value.shape for key, value in program.exported.state_dict.items()}
    assert shapes == {key: value.shape for key, value in still_there.exported.state_dict.items()}
    for before, after in zip(still_there.run(*inputs), gone.run(*inputs), strict=True):
        # Float32 sums over fewer terms round otherwise.
        np.testing.assert_allclose(before, after, rtol=1e-4, atol=1e-5)


@pytest.fixture
def program() -> Program:
    layers = [nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 1), nn.AdaptiveAvgPool2d(1)]
    return Program.capture(nn.Sequential(*layers, nn.Flatten()), (torch.randn(2, 3, 4, 4),))


def test_a_channel_that_the_loss_wants_comes_back(program: Program) -> None:
    """Channel 5 is cut off, then trained towards a target that is the network with it: the next plan keeps it."""
    module = program.graph_module()
    with torch.no_grad():
        module.get_parameter("0.weight")[5] *= 4
        module.get_parameter("3.weight")[:, 5, 0, 0] = torch.tensor([3.0, -3.0, 3.0, -3.0])
    teacher = program.replace(module)
    cut = cut_off(teacher, plan_exactly(teacher, {"0": [1, 5]}))
    assert not cut.module().get_parameter("3.weight")[:, [1, 5]].any()
    student, answer = cut.module().train(), teacher.module().train()
    optimizer = torch.optim.SGD(student.parameters(), lr=0.2)
    for _ in range(40):
        inputs = torch.randn(16, 3, 4, 4)
        optimizer.zero_grad()
        functional.mse_loss(student(inputs), answer(inputs).detach()).backward()
        optimizer.step()
    trained = cut.replace(student)
    options = PruneChannels(macs=0.8, round_to=1)
    (before, *_), (after, *_) = (options.plan(as_read(one), context(cut)).layers for one in (cut, trained))
    assert {1, 5} <= set(before.removed)
    assert 5 not in after.removed


def test_channels_count_by_how_strongly_they_are_read(program: Program) -> None:
    cut = cut_off(program, plan_exactly(program, {"0": [2]}))
    readers = cut.module().get_parameter("3.weight").detach()[:, :, 0, 0]
    factors = readers.norm(dim=0) / readers.norm(dim=0).mean()
    seen, real = as_read(cut).module(), cut.module()
    for name in ("0.weight", "1.weight"):
        shape = (-1, *[1] * (real.get_parameter(name).ndim - 1))
        torch.testing.assert_close(
            seen.get_parameter(name), real.get_parameter(name) * factors.reshape(shape), rtol=1e-5, atol=1e-7
        )
    assert seen.get_parameter("3.weight").equal(real.get_parameter("3.weight"))
    assert factors[2] == 0
