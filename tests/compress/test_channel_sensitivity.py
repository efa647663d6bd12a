"""The sensitivity scan: every trial is what prune_channels would make of it, and a scan goes on where it was."""

from __future__ import annotations

import dataclasses
import functools
import itertools

import numpy as np
import pytest
import tiny_networks
import torch

from edgepress import cost
from edgepress.accuracy import score_on
from edgepress.compress import ChannelScan, _batch_norm, scan_channels
from edgepress.compress.prune_channels import plan_exactly, prunable, rewrite
from edgepress.errors import BadInput, UnsupportedModel, UsageError
from edgepress.program import Program
from edgepress.sensitivity import Sensitivity

HOW = ChannelScan(ratios=(0.5, 0.25), samples=96, batch_size=32)


@functools.cache
def trained() -> Program:
    """A few steps of training on the bright quarters: an untrained network has no accuracy to lose."""
    program = tiny_networks.capture(tiny_networks.Residual)
    module = program.module().train()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.05, momentum=0.9)
    for _ in range(10):
        for batch in tiny_networks.Patches(96).batches("train", None, batch_size=32):
            loss = torch.nn.functional.cross_entropy(
                module(torch.from_numpy(batch.inputs[0])), torch.from_numpy(batch.labels)
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return program.replace(module)


@functools.cache
def scanned() -> list[Sensitivity]:
    return list(scan_channels(trained(), tiny_networks.Patches(), HOW))


def test_every_removable_group_is_tried_at_every_ratio() -> None:
    last = scanned()[-1]
    assert [(part.channels, part.layers) for part in last.parts] == [
        (group.channels, group.layers) for group in prunable(trained()).groups
    ]
    for part in last.parts:
        assert [trial.ratio for trial in part.trials] == [0.25, 0.5]
        assert [trial.removed for trial in part.trials] == [part.channels // 4, part.channels // 2]


def test_a_trial_is_what_pruning_makes() -> None:
    """The accuracy, MACs and parameters of a trial are those of the program that plan and rewrite make."""
    program, data = trained(), tiny_networks.Patches()
    batches = list(data.batches("calibrate", None, batch_size=32, limit=96))
    (part,) = (part for part in scanned()[-1].parts if part.layers == ("first",))
    norms = program.exported.state_dict["first.weight"].flatten(1).norm(dim=1)
    least = norms.argsort(stable=True)[:16].tolist()
    pruned = rewrite(program, plan_exactly(program, {"first": least}))
    pruned = _batch_norm.reestimated(pruned, batches)
    trial = part.trial(0.5)
    assert trial is not None
    measured = cost.measure(pruned)
    assert (trial.macs, trial.parameters) == (measured.macs, measured.parameters)
    assert trial.accuracy == score_on(pruned.run, batches, "patches")


def test_the_drops_are_from_the_network_whose_norms_are_measured_alike() -> None:
    last = scanned()[-1]
    part = last.parts[0]
    assert last.original.top1 > 50, "twice of chance"
    assert last.drop(part.trials[0]) == last.reference.top1 - part.trials[0].accuracy.top1
    drops = [last.mean_drop(part) for part in last.most_sensitive_first()]
    assert drops == sorted(drops, reverse=True)
    assert len(set(drops)) > 1, "otherwise sorting shows nothing"


def test_each_step_adds_one_trial_the_ratios_one_after_the_other() -> None:
    counts = [sum(len(part.trials) for part in found.parts) for found in scanned()]
    assert counts == list(range(len(scanned()[-1].parts) * 2 + 1))
    halfway = scanned()[len(scanned()[-1].parts)]
    assert halfway.ratios() == (0.25,)


def test_an_interrupted_scan_goes_on_and_ratios_can_be_added() -> None:
    data = tiny_networks.Patches()
    broken_off = list(itertools.islice(scan_channels(trained(), data, HOW), 3))[-1]
    resumed = list(scan_channels(trained(), data, HOW, earlier=broken_off))
    assert resumed[-1] == scanned()[-1]
    assert len(resumed) == len(scanned()) - 2, "finished trials are not made again"
    more = dataclasses.replace(HOW, ratios=(0.75,))
    assert list(scan_channels(trained(), data, more, earlier=resumed[-1]))[-1].ratios() == (0.25, 0.5, 0.75)


@pytest.mark.parametrize("change", [{"criterion": "l1"}, {"samples": 64}, {"split": "train"}])
def test_results_of_another_scan_are_not_taken(change: dict[str, object]) -> None:
    other = dataclasses.replace(HOW, **change)
    with pytest.raises(UsageError, match="with another network"):
        next(scan_channels(trained(), tiny_networks.Patches(), other, earlier=scanned()[-1]))


def test_the_program_stays_as_it_is() -> None:
    program, inputs = trained(), trained().signature.example(2)
    before = program.run(*inputs)[0]
    next(itertools.islice(scan_channels(program, tiny_networks.Patches(), HOW), 1, None))
    np.testing.assert_array_equal(program.run(*inputs)[0], before)


def test_no_tensor_loses_all_of_its_channels() -> None:
    """Two layers that read a half each: the half that holds all of the least important channels keeps one."""

    class Halves(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.both = torch.nn.Conv2d(3, 16, 1)
            self.left, self.right = torch.nn.Conv2d(8, 4, 1), torch.nn.Conv2d(8, 4, 1)
            with torch.no_grad():
                self.both.weight[:8] *= 1e-3

        def forward(self, pictures: torch.Tensor) -> torch.Tensor:
            left, right = torch.relu(self.both(pictures)).chunk(2, 1)
            return (self.left(left) + self.right(right)).mean([2, 3])

    program = tiny_networks.capture(Halves)
    how = dataclasses.replace(HOW, ratios=(0.5,))
    last = list(scan_channels(program, tiny_networks.Patches(32), how))[-1]
    (part,) = (part for part in last.parts if part.layers == ("both",))
    assert part.trials[0].removed == 8, "seven of the left half, then the next best of the right"


def test_refuses_what_it_cannot_measure() -> None:
    with pytest.raises(BadInput, match="needs labels"):
        next(scan_channels(trained(), tiny_networks.unlabelled(), HOW))
    with pytest.raises(BadInput, match="nothing to calibrate"):
        next(scan_channels(trained(), tiny_networks.Patches(0), HOW))
    alone = Program.capture(torch.nn.Linear(3, 4), (torch.zeros(2, 3),))
    with pytest.raises(UnsupportedModel, match="No channel"):
        next(scan_channels(alone, tiny_networks.Patches(), HOW))
