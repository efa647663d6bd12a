"""The second moments of a layer's inputs, spelt out or as the rows they are of: what is asked of them comes out the same."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from edgepress import compress
from edgepress.compress._quantization.rounding import Rounder, adaround, gptq
from edgepress.compress._reconstruction import least_squares
from edgepress.compress._reconstruction.least_squares import LeastSquares
from edgepress.compress._reconstruction.moments import Gram, Moments, Rows
from edgepress.compress.quantize_static import QuantizeStatic
from edgepress.data._arrays import ArrayData
from edgepress.program import Program
from edgepress.recipe import Recipe

LIMIT = 7


def read(groups: int, rows: int, inputs: int) -> torch.Tensor:
    """What fewer causes than inputs make behind a ReLU, a seventh of it always zero, float64."""
    random = torch.Generator().manual_seed(0)
    causes = torch.randn(groups, rows, inputs // 3, generator=random, dtype=torch.float64)
    mixed = torch.randn(groups, inputs // 3, inputs, generator=random, dtype=torch.float64)
    made = torch.relu(causes @ mixed)
    made[:, :, ::7] = 0
    return made


def both(rows: torch.Tensor) -> tuple[Moments, Moments]:
    return Gram(rows.mT @ rows), Rows(rows)


@pytest.mark.parametrize("method", [gptq, adaround], ids=["gptq", "adaround"])
@pytest.mark.parametrize("shape", [(1, 20, 200), (3, 50, 130), (1, 90, 64)], ids=str)
def test_weights_are_rounded_to_the_same_integers(
    method: Callable[[Moments], Rounder], shape: tuple[int, int, int]
) -> None:
    """More inputs than rows, groups, and fewer; blocks that are full and one that is not."""
    weight = torch.randn(
        shape[0], 6, shape[2], generator=torch.Generator().manual_seed(1), dtype=torch.float64
    )
    scales, kept = weight.abs().amax(2) / LIMIT, torch.rand(weight.shape) > 0.2
    spelt_out, rows = (method(one)(weight, scales, LIMIT, kept) for one in both(read(*shape)))
    # A thousand steps in float32 leave adaround undecided of a weight now and then.
    assert int((spelt_out != rows).sum()) <= (0 if method is gptq else 0.01 * rows.numel())


def test_an_order_is_the_same_and_says_the_same_of_inputs() -> None:
    spelt_out, rows = (one.order() for one in both(read(2, 30, 150)))
    loud = spelt_out.inputs[: 150 - 150 // 7 - 1]
    assert loud.equal(rows.inputs[: len(loud)])
    torch.testing.assert_close(spelt_out.importance(), rows.importance(), rtol=1e-9, atol=0)


@pytest.mark.parametrize("has_intercept", [False, True])
@pytest.mark.parametrize("groups", [1, 3])
def test_a_fit_of_few_rows_is_that_of_the_sums_over_them(
    groups: int, has_intercept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs, random = read(groups, 40, 100) + 1, torch.Generator().manual_seed(2)
    targets = torch.randn(groups, 40, 4, generator=random, dtype=torch.float64) - 2
    old = torch.randn(groups, 100, 4, generator=random, dtype=torch.float64)
    kept = torch.rand(old.shape, generator=random) > 0.3
    found = []
    for each in (2, 1000):
        monkeypatch.setattr(least_squares, "INPUTS_A_ROW", each)
        system = LeastSquares(groups, 100, 4, has_intercept=has_intercept)
        for part in (slice(0, 15), slice(15, 40)):
            system.add(inputs[:, part], targets[:, part])
        assert isinstance(system.moments, Rows if each == 2 else Gram)
        new = system.solve(old, 0.01)
        few = system.solve_kept(old * kept, kept, 0.01)
        found.append(
            (new, few, system.mean(new), system.variance(new), system.errors(old), system.error(new))
        )
    # Float64; conjugate gradients end a little before the solution.
    for rows, sums in zip(*found, strict=True):
        torch.testing.assert_close(rows, sums, rtol=1e-6, atol=1e-8)


def test_rows_become_sums_once_they_are_many() -> None:
    inputs, targets = read(1, 90, 100), torch.randn(1, 90, 2, dtype=torch.float64)
    system = LeastSquares(1, 100, 2, has_intercept=False)
    are_rows = []
    for part in range(0, 90, 30):
        system.add(inputs[:, part : part + 30], targets[:, part : part + 30])
        are_rows.append(isinstance(system.moments, Rows))
    assert are_rows == [True, False, False]
    torch.testing.assert_close(system.moments.times(torch.eye(100).double()[None]), inputs.mT @ inputs)


def test_a_layer_whose_matrix_of_moments_is_large_is_fitted_to_its_samples() -> None:
    """Of 8,400 inputs it would take 560 MB."""
    torch.manual_seed(0)
    program = Program.capture(nn.Linear(8400, 2), (torch.zeros(2, 8400),))
    samples = np.maximum(np.random.default_rng(0).standard_normal((24, 8400)), 0).astype(np.float32)
    made = compress.apply(program, Recipe((QuantizeStatic(scheme="w4a8"),)), ArrayData(samples))
    off, wanted = made.run(samples)[0] - program.run(samples)[0], program.run(samples)[0]
    # Rounded to the nearest of so few values it is 4e-3; of what it has learned from a layer loses next to nothing.
    assert np.square(off).sum() < 5e-4 * np.square(wanted - wanted.mean(0)).sum()
