"""The fit is the least-squares solution, and its figures are those of the rows it was given."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from edgepress.compress._reconstruction.least_squares import LeastSquares


def _rows(groups: int, inputs: int, outputs: int) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    read = torch.randn(groups, 200, inputs, generator=random) + 1
    return read, torch.randn(groups, 200, outputs, generator=random) - 2


def _system(read: torch.Tensor, targets: torch.Tensor, has_intercept: bool) -> LeastSquares:
    system = LeastSquares(*read.shape[::2], targets.shape[2], has_intercept=has_intercept)
    for part in (slice(0, 70), slice(70, 200)):
        system.add(read[:, part], targets[:, part])
    return system


@pytest.mark.parametrize("has_intercept", [False, True])
@pytest.mark.parametrize("groups", [1, 3])
def test_without_ridge_it_is_numpys_solution(groups: int, has_intercept: bool) -> None:
    read, targets = _rows(groups, 6, 4)
    system = _system(read, targets, has_intercept)
    found = system.solve(torch.zeros(groups, 6, 4, dtype=torch.float64), ridge=0.0)
    for group in range(groups):
        matrix = read[group].double().numpy()
        if has_intercept:
            matrix = np.hstack([matrix, np.ones((200, 1))])
        expected = np.linalg.lstsq(matrix, targets[group].double().numpy(), rcond=None)[0]
        # Normal equations in float64 of a well-conditioned matrix lose about half of 16 digits at worst.
        np.testing.assert_allclose(found[group].numpy(), expected[:6], rtol=1e-8, atol=1e-10)
        if has_intercept:
            intercept = system.target_mean[group] - system.mean(found)[group]
            np.testing.assert_allclose(intercept[0].numpy(), expected[6], rtol=1e-8)


def test_mean_variance_and_error_are_those_of_the_rows() -> None:
    read, targets = _rows(2, 6, 4)
    system = _system(read, targets, has_intercept=True)
    weights = system.solve(torch.zeros(2, 6, 4, dtype=torch.float64), ridge=0.0)
    made = read.double() @ weights
    torch.testing.assert_close(system.mean(weights), made.mean(1, keepdim=True))
    torch.testing.assert_close(system.variance(weights), made.var(1, correction=0, keepdim=True))
    missed = (made - made.mean(1, keepdim=True)) - (targets - targets.mean(1, keepdim=True))
    share = missed.square().sum() / (targets - targets.mean(1, keepdim=True)).square().sum()
    assert system.error(weights) == pytest.approx(float(share), rel=1e-6)


def test_the_ridge_pulls_towards_the_old_weights() -> None:
    read, targets = _rows(1, 6, 4)
    old = torch.ones(1, 6, 4, dtype=torch.float64)
    distances = [
        float((_system(read, targets, True).solve(old, ridge) - old).norm()) for ridge in (0.1, 10, 1e6)
    ]
    assert distances == sorted(distances, reverse=True)
    # The rows weigh in with a millionth of the pull's weight.
    assert distances[-1] < 1e-4


def test_inputs_that_are_all_zero_leave_the_weights_alone() -> None:
    old = torch.full((1, 3, 2), 0.5, dtype=torch.float64)
    system = _system(torch.zeros(1, 200, 3), torch.ones(1, 200, 2), has_intercept=True)
    torch.testing.assert_close(system.solve(old, 1e-3), old)


def test_inputs_that_do_not_vary_leave_the_weights_where_they_are() -> None:
    """A constant, taken off its mean in float64, leaves rounding alone: fitted to, it gave weights of 1e30."""
    generator = torch.Generator().manual_seed(0)
    system = LeastSquares(1, 2, 3, has_intercept=True)
    inputs = torch.full((1, 1000, 2), 0.1) + 1e-9 * torch.randn(
        1, 1000, 2, generator=generator, dtype=torch.float64
    )
    system.add(inputs, torch.randn(1, 1000, 3, generator=generator))
    old = torch.randn(1, 2, 3, generator=generator, dtype=torch.float64)
    for found in (
        system.solve(old, 0.1),
        system.solve_kept(old, torch.ones_like(old, dtype=torch.bool), 0.1),
    ):
        assert torch.allclose(found, old, atol=1.0)
