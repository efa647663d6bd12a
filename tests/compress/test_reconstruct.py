"""Refitting after a prune: exact where it can be, better everywhere else, and honest about what it leaves alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from awkward_networks import NETWORKS
from planted_channels import plant
from torch import nn

from edgepress.compress._channels.plan import classes_kept
from edgepress.compress._channels.rewrite import remove
from edgepress.compress._channels.structure import read_structure
from edgepress.compress._reconstruction import refit, targets
from edgepress.compress._reconstruction.refit import Reconstruction, reconstructed
from edgepress.compress._reconstruction.targets import Orders
from edgepress.compress._reconstruction.walk import fitting
from edgepress.compress._sparse.zeros import SPARSE
from edgepress.data import Batch
from edgepress.history import Step
from edgepress.program import Program


class Chain(nn.Module):
    """Two layers without anything but `between` them, then a head."""

    def __init__(self, second: nn.Module, between: nn.Module | None = None) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.between = between or nn.Identity()
        self.second = second

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(self.between(self.first(x)))


class Join(nn.Module):
    """A branch whose last layer closes a residual join with a shortcut that loses channels inside as well."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.narrow = nn.Conv2d(8, 8, 1, bias=False)
        self.widen = nn.Conv2d(8, 8, 1, bias=False)
        self.inner = nn.Conv2d(8, 16, 3, padding=1, bias=False)
        self.inner_norm = nn.BatchNorm2d(16)
        self.last = nn.Conv2d(16, 8, 3, padding=1, bias=False)
        self.last_norm = nn.BatchNorm2d(8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        stem = self.stem(x)
        shortcut = self.widen(self.narrow(stem))
        return self.last_norm(self.last(torch.relu(self.inner_norm(self.inner(stem))))) + shortcut


RIDGE = 1e-6
"""So weak a pull towards the old weights that an exact solution is found to 1e-5."""

NORM = ("running_mean", "running_var", "weight", "bias")
"""What a batch-norm stores, in the order in which torch.nn.functional.batch_norm takes it."""


def _batches(samples: int = 64) -> list[Batch]:
    pictures = torch.randn(samples, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    return [Batch((part.numpy(),)) for part in pictures.split(32)]


def _settled(network: nn.Module) -> Program:
    """Captured, with batch-norm statistics of the data and scales that are not all one."""
    for norm in (layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)):
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.uniform_(norm.bias, -0.5, 0.5)
        norm.momentum = None
    network.train()
    with torch.no_grad():
        for batch in _batches():
            network(torch.from_numpy(batch.inputs[0]))
    return Program.capture(network, (torch.zeros(2, 3, 8, 8),))


def _cut(program: Program, removed: dict[str, list[int]]) -> tuple[Program, Orders]:
    structure = read_structure(program)
    orders = remove(structure.labelling, classes_kept(structure, removed))
    return program.replace(structure.labelling.graph_module), orders


def _refitted(program: Program, removed: dict[str, list[int]]) -> tuple[Program, Program, Reconstruction]:
    cut, orders = _cut(program, removed)
    return cut, *reconstructed(program, cut, orders, _batches(), RIDGE)


def _error(program: Program, other: Program) -> float:
    """The mean squared difference of the outputs on samples that no fit has seen, over that of zero."""
    pictures = np.random.default_rng(2).standard_normal((64, 3, 8, 8)).astype(np.float32)
    (wanted,), (found,) = program.run(pictures), other.run(pictures)
    return float(np.square(wanted - found).mean() / np.square(wanted).mean())


def _make_dependent(network: Chain) -> None:
    """Let the first layer's last three channels be combinations of its first five."""
    with torch.no_grad():
        mix = torch.randn(3, 5, generator=torch.Generator().manual_seed(3))
        network.first.weight[5:] = torch.einsum("ab,bchw->achw", mix, network.first.weight[:5])


SECONDS: dict[str, Callable[[], nn.Module]] = {
    "plain": lambda: nn.Conv2d(8, 6, 3, padding=1, bias=False),
    "bias, stride and dilation": lambda: nn.Conv2d(8, 6, 3, stride=2, padding=2, dilation=2),
    "padding same": lambda: nn.Conv2d(8, 6, 3, padding="same"),
    "batch norm": lambda: nn.Sequential(nn.Conv2d(8, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6)),
    "linear": lambda: nn.Sequential(nn.Flatten(2), _ChannelsLast(), nn.Linear(8, 6)),
}


class _ChannelsLast(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.transpose(1, 2)


@pytest.mark.parametrize("second", SECONDS)
def test_what_others_can_say_is_said_by_them(second: str) -> None:
    network = Chain(SECONDS[second]())
    _make_dependent(network)
    program = _settled(network)
    cut, refitted, found = _refitted(program, {"first": [5, 6, 7]})
    assert not found.left
    (errors,) = found.errors.values()
    assert errors[0] > 0.1
    pictures = np.random.default_rng(2).standard_normal((8, 3, 8, 8)).astype(np.float32)
    np.testing.assert_allclose(program.run(pictures)[0], refitted.run(pictures)[0], rtol=1e-4, atol=1e-4)
    assert _error(program, cut) > 0.05


def test_a_branch_makes_up_for_its_shortcut() -> None:
    program = _settled(Join())
    removed = {"narrow": [0, 3, 5], "inner": list(range(6))}
    cut, refitted, found = _refitted(program, removed)
    assert set(found.errors) == {"widen", "last"}
    assert _error(program, refitted) < 0.5 * _error(program, cut)
    alone, _, _ = _refitted_without_joins(program, removed)
    assert _error(program, refitted) < _error(program, alone)


def _refitted_without_joins(program: Program, removed: dict[str, list[int]]) -> tuple[Program, Orders, None]:
    cut, orders = _cut(program, removed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(targets, "_sum", lambda node: None)
        return reconstructed(program, cut, orders, _batches())[0], orders, None


def test_batch_norm_statistics_are_those_of_the_fit() -> None:
    program = _settled(Join())
    _, refitted, _ = _refitted(program, {"inner": list(range(6))})
    weights = refitted.exported.state_dict
    pictures = torch.cat([torch.from_numpy(batch.inputs[0]) for batch in _batches()])
    stem = nn.functional.conv2d(pictures, weights["stem.weight"], weights["stem.bias"], padding=1)
    inner = nn.functional.conv2d(stem, weights["inner.weight"], padding=1)
    normed = nn.functional.batch_norm(inner, *(weights[f"inner_norm.{name}"] for name in NORM))
    made = nn.functional.conv2d(normed.relu(), weights["last.weight"], padding=1).detach()
    # All 4096 positions are fitted on, so the statistics are exact up to float32.
    torch.testing.assert_close(weights["last_norm.running_mean"], made.mean([0, 2, 3]), rtol=1e-3, atol=1e-4)
    variance = made.var([0, 2, 3], correction=0)
    torch.testing.assert_close(weights["last_norm.running_var"], variance, rtol=1e-3, atol=1e-4)


def test_depthwise_and_grouped_layers_are_fitted_group_by_group() -> None:
    depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
    grouped = nn.Conv2d(8, 8, 3, padding=1, groups=2)
    second = nn.Sequential(nn.Conv2d(8, 8, 1), nn.ReLU(), depthwise, nn.ReLU(), grouped)
    program = _settled(Chain(second, nn.ReLU()))
    cut, refitted, found = _refitted(program, {"first": [0, 4]})
    assert set(found.errors) == {"second.0", "second.2", "second.4"}
    assert refitted.exported.state_dict["second.2.weight"].shape == (8, 1, 3, 3)
    assert _error(program, refitted) < 0.8 * _error(program, cut)


def test_only_what_reads_something_else_is_touched() -> None:
    program = _settled(Join())
    cut, refitted, _ = _refitted(program, {"inner": [0, 1]})
    for name in ("stem.weight", "narrow.weight", "widen.weight", "inner.weight"):
        assert torch.equal(cut.exported.state_dict[name], refitted.exported.state_dict[name])
    assert not torch.equal(
        cut.exported.state_dict["last.weight"], refitted.exported.state_dict["last.weight"]
    )


def test_sparse_layers_keep_their_zeros() -> None:
    program = _settled(Join())
    step = Step("prune_weights", results={SPARSE: {"last.weight": {}}})
    cut, orders = _cut(program.with_step(step), {"inner": [0, 1], "narrow": [2]})
    refitted, found = reconstructed(program, cut, orders, _batches())
    assert "sparse" in found.left["last"]
    assert set(found.errors) == {"widen"}
    assert torch.equal(cut.exported.state_dict["last.weight"], refitted.exported.state_dict["last.weight"])


def test_layers_that_cannot_be_fitted_are_left_with_the_reason() -> None:
    tied = nn.Conv2d(6, 6, 3, padding=1)
    second = nn.Sequential(nn.ConvTranspose2d(8, 6, 2), tied, nn.ReLU(), tied)
    program = _settled(Chain(second, nn.ReLU()))
    _, refitted, found = _refitted(program, {"first": [0]})
    assert not found.errors
    assert "conv_transpose2d" in found.left["second.0"]
    assert "more than once" in found.left["second.3"]
    cut, _ = _cut(program, {"first": [0]})
    assert _error(cut, refitted) == 0


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    program = _settled(Join())
    cut, orders = _cut(program, {"inner": [0, 1]})
    monkeypatch.setattr(refit, "ACTIVATION_BYTES", 1)
    assert reconstructed(program, cut, orders, _batches())[1].samples == 32
    # The last layer reads 14 channels of 3 x 3: a matrix of 126 x 126 numbers in float64.
    monkeypatch.setattr(targets, "LARGEST_GRAM_BYTES", 8 * 126**2 - 1)
    assert "126 inputs" in reconstructed(program, cut, orders, _batches())[1].left["last"]
    monkeypatch.setattr(targets, "LARGEST_GRAM_BYTES", 8 * 126**2)
    assert "last" in reconstructed(program, cut, orders, _batches())[1].errors


def test_nothing_is_read_behind_a_batch_that_does_not_fit() -> None:
    batches = (Batch((np.zeros((count, 1), np.float32),)) for count in (4, 8, 1))
    assert [len(batch) for batch in fitting(batches, elements=1, most_bytes=4 * 6)] == [4]
    assert len(next(batches)) == 1, "the last one is still to be read"


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_nothing_changes_where_nothing_was_lost(name: str) -> None:
    """Behind channels that were dead the old weights are the solution, whatever the network looks like."""
    planted, removed = plant(Program.capture(*NETWORKS[name]()))
    cut, orders = _cut(planted, removed)
    batches = [Batch(planted.signature.example(8, seed)) for seed in (1, 2)]
    refitted, _ = reconstructed(planted, cut, orders, batches)
    for batch in batches:
        for before, after in zip(planted.run(*batch.inputs), refitted.run(*batch.inputs), strict=True):
            # What float32 activations leave open, the old weights settle.
            assert np.abs(before - after).max() <= 1e-4 * np.abs(before).max()
