"""Shared values that are fitted to what layers give: closer in no more bytes, the feedback, the refit that keeps zeros."""

from __future__ import annotations

import numpy as np
import pytest
import tiny_networks
import torch

from edgepress import compress
from edgepress.compress._reconstruction.least_squares import LeastSquares
from edgepress.compress._reconstruction.moments import Gram
from edgepress.compress._sharing.choice import Sharable
from edgepress.compress._sharing.codebook import Points, rounded
from edgepress.compress._sharing.effect import measured_effects
from edgepress.compress._sharing.feedback import Entries, assigned, coded_bits
from edgepress.compress._sparse.layers import read_weights
from edgepress.compress.prune_weights import PruneWeights
from edgepress.compress.share_weights import ShareWeights
from edgepress.data import Batch
from edgepress.program import Program
from edgepress.recipe import Recipe


class Correlated(tiny_networks.Patches):
    """Pictures whose neighbours are alike, as those of photographs are: noise, averaged over 3 x 3 pixels."""

    def __init__(self, samples: int = 96) -> None:
        super().__init__(samples)
        smooth = torch.nn.functional.avg_pool2d(torch.from_numpy(self.pictures), 3, 1, 1)
        self.pictures = 3 * smooth.numpy()


@pytest.fixture(scope="module")
def data() -> Correlated:
    return Correlated()


def lost(program: Program, after: Program, data: Correlated) -> float:
    (inputs,) = next(iter(data.batches("evaluate", None, batch_size=96))).inputs
    want, got = program.run(inputs)[0], after.run(inputs)[0]
    return float(np.square(got - want).sum() / np.square(want).sum())


@pytest.mark.parametrize(
    ("network", "options"),
    [
        (tiny_networks.Residual, {"size": 0.08}),
        (tiny_networks.Concatenated, {"bits": 2}),
        (tiny_networks.Concatenated, {"sqnr_db": 12}),
    ],
    ids=str,
)
def test_outputs_are_closer_in_no_more_bytes(
    network: type[torch.nn.Module], options: dict[str, float], data: Correlated
) -> None:
    program = tiny_networks.capture(network)
    noise, taken = {}, {}
    for fit in (True, False):
        after = compress.apply(program, Recipe((ShareWeights(**options, fit_outputs=fit),)), data)
        noise[fit] = lost(program, after, data)
        taken[fit] = after.history.steps[-1].results["coded_bytes"]
    # By a factor of a hundred on so smooth pictures: there is a lot that errors can be moved to.
    assert noise[True] < 0.1 * noise[False]
    if "bits" not in options:
        assert taken[True] <= taken[False]


def test_values_asked_for_by_bits_stay_so_many_and_zeros_stay(data: Correlated) -> None:
    program = tiny_networks.capture(tiny_networks.Residual)
    pruned = compress.apply(program, Recipe((PruneWeights(sparsity=0.5),)))
    after = compress.apply(pruned, Recipe((ShareWeights(bits=2),)), data)
    for name in ("stem.weight", "first.weight", "second.weight", "head.weight"):
        before, now = pruned.exported.state_dict[name], after.exported.state_dict[name]
        assert now.unique().count_nonzero() <= 4
        assert not now[before == 0].any()
    bias = after.exported.state_dict["stem.bias"].detach().double().numpy()
    assert not np.array_equal(bias, pruned.exported.state_dict["stem.bias"].detach().numpy()), (
        "it has taken over a mean"
    )
    assert np.array_equal(bias, rounded(bias)), "in two bytes"


def test_feedback_leaves_less_error_than_the_nearest_values() -> None:
    random = torch.Generator().manual_seed(0)
    mixed = torch.randn(24, 24, generator=random, dtype=torch.float64)
    inputs = torch.randn(2000, 24, generator=random, dtype=torch.float64) @ mixed
    gram = (inputs.T @ inputs / len(inputs))[None]
    weight = torch.randn(1, 16, 24, generator=random, dtype=torch.float64)
    book = Points.of(weight.flatten().numpy()).of_size(8)
    entries = Entries.of(book, np.ones(9))
    order, never = Gram(gram).order(), torch.zeros_like(weight, dtype=torch.bool)
    chosen = {
        "fed back": assigned(weight, order, entries, 0.0, never),
        "nearest": (weight[..., None] - entries.values).abs().argmin(-1),
        "dear": assigned(weight, order, entries, 3.0, never),
    }
    errors = {name: weight - entries.values[one] for name, one in chosen.items()}
    noise = {name: float(((error @ gram) * error).sum()) for name, error in errors.items()}
    assert noise["fed back"] < 0.7 * noise["nearest"]
    bits = {name: coded_bits(entries.counts(one)) for name, one in chosen.items()}
    assert bits["dear"] <= bits["fed back"]
    assert not assigned(weight, order, entries, 0.0, ~never).any(), "what stays zero takes the first entry"


def test_the_refit_keeps_zeros_and_is_the_best_of_those_that_do() -> None:
    """Against the normal equations of each output's own inputs; 60 steps solve 12 unknowns to rounding."""
    random = torch.Generator().manual_seed(1)
    inputs = torch.randn(1, 200, 12, generator=random, dtype=torch.float64)
    targets = torch.randn(1, 200, 3, generator=random, dtype=torch.float64)
    system = LeastSquares(1, 12, 3, has_intercept=False)
    system.add(inputs, targets)
    kept = torch.rand(1, 12, 3, generator=random) > 0.4
    found = system.solve_kept(torch.zeros(1, 12, 3, dtype=torch.float64), kept, 0.0)
    assert not found[~kept].any()
    for output in range(3):
        own = kept[0, :, output]
        wanted = torch.linalg.lstsq(inputs[0][:, own], targets[0][:, output]).solution
        torch.testing.assert_close(found[0, own, output], wanted)


def test_an_effect_is_what_is_heard_in_the_outputs(data: Correlated) -> None:
    """Of the last layer all noise is; of a branch behind which a tenth is taken, a hundredth of its energy."""

    class Branches(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.loud, self.quiet = torch.nn.Linear(64, 32), torch.nn.Linear(64, 32)

        def forward(self, values: torch.Tensor) -> torch.Tensor:
            return torch.cat([self.loud(values), 0.1 * self.quiet(values)], 1)

    torch.manual_seed(0)
    program = Program.capture(Branches(), (torch.zeros(2, 64),))
    graph_module = program.graph_module()
    layers = [
        Sharable(layer, weight.detach().double().numpy(), None)
        for layer, weight in read_weights(graph_module).layers.items()
    ]
    inputs = torch.randn(64, 64).numpy()
    loud, quiet = measured_effects(graph_module, layers, [Batch((inputs,), None)])
    assert loud == pytest.approx(1 / 1.01, rel=0.1), "inputs are white, but only 64 of them"
    assert quiet == pytest.approx(0.01, rel=0.2)
    assert np.array_equal(program.run(inputs)[0], graph_module(torch.from_numpy(inputs)).detach().numpy())
