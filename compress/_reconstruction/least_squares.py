"""Linear least squares with a pull towards old weights, as normal equations in float64 that rows are added to."""

from __future__ import annotations

import torch

ROUNDING = 1e-7
"""Of an input's mean square, the penalty at the least: a constant that is rounded to float32 varies by so much."""
CONJUGATE_STEPS = 60
"""Each finds the best along one more direction: from weights that are nearly right, more change nothing."""


class LeastSquares:
    """Finds the weights (groups x inputs x outputs) that make `targets` of `inputs`, with an intercept or without.

    However many rows there are, only sums over them are kept: groups x inputs x (inputs + outputs) numbers.
    """

    def __init__(self, groups: int, inputs: int, outputs: int, *, has_intercept: bool) -> None:
        self.groups, self.inputs = groups, inputs
        self._count = 0
        self._has_intercept = has_intercept
        self._gram = torch.zeros(groups, inputs, inputs, dtype=torch.float64)
        self._cross = torch.zeros(groups, inputs, outputs, dtype=torch.float64)
        self._input_sum = torch.zeros(groups, 1, inputs, dtype=torch.float64)
        self._target_sum = torch.zeros(groups, 1, outputs, dtype=torch.float64)
        self._squares = torch.zeros(groups, 1, outputs, dtype=torch.float64)

    def add(self, inputs: torch.Tensor, targets: torch.Tensor) -> None:
        """inputs: groups x rows x inputs; targets: groups x rows x outputs."""
        inputs, targets = inputs.double(), targets.double()
        self._count += inputs.shape[1]
        self._gram += inputs.mT @ inputs
        self._cross += inputs.mT @ targets
        self._input_sum += inputs.sum(1, keepdim=True)
        self._target_sum += targets.sum(1, keepdim=True)
        self._squares += targets.square().sum(1, keepdim=True)

    @property
    def target_mean(self) -> torch.Tensor:
        """groups x 1 x outputs."""
        return self._target_sum / self._count

    @property
    def gram(self) -> torch.Tensor:
        """The mean product of two inputs (their covariance, with an intercept): groups x inputs x inputs."""
        return self._centred()[0] / self._count

    def mean(self, weights: torch.Tensor) -> torch.Tensor:
        """The mean of what `weights` make of the inputs: groups x 1 x outputs."""
        return self._input_sum @ weights / self._count

    def variance(self, weights: torch.Tensor) -> torch.Tensor:
        """The variance of what `weights` make of the inputs: groups x 1 x outputs."""
        square = ((self._gram @ weights) * weights).sum(1, keepdim=True) / self._count
        return (square - self.mean(weights).square()).clamp_min(0)

    def solve(self, old: torch.Tensor, ridge: float) -> torch.Tensor:
        """The weights: a squared distance of 1 from `old` costs `ridge` times the mean square of an input."""
        gram, cross, _ = self._centred()
        penalty = self._penalty(gram, ridge)
        identity = torch.eye(gram.shape[-1], dtype=torch.float64)
        weights: torch.Tensor = torch.linalg.solve(gram + penalty * identity, cross + penalty * old)
        return weights

    def solve_kept(self, old: torch.Tensor, kept: torch.Tensor, ridge: float) -> torch.Tensor:
        """As `solve`, for weights that are zero wherever `kept` is false, as `old` is: by conjugate gradients."""
        gram, cross, _ = self._centred()
        penalty = self._penalty(gram, ridge)
        weights = old.clone()
        left = (cross - gram @ weights) * kept
        way, size = left.clone(), left.square().sum(1, keepdim=True)
        for _ in range(CONJUGATE_STEPS):
            turned = (gram @ way + penalty * way) * kept
            length = size / (way * turned).sum(1, keepdim=True).clamp_min(1e-300)
            weights += length * way
            left -= length * turned
            before, size = size, left.square().sum(1, keepdim=True)
            way = left + size / before.clamp_min(1e-300) * way
        return weights

    def _penalty(self, gram: torch.Tensor, ridge: float) -> torch.Tensor:
        """groups x 1 x 1. Inputs that are all zero, or that vary no more than they are rounded, leave the weights where
        they are: what their rounding explains would be weights without bounds. Without a ridge there is none."""
        varying, squares = (each.diagonal(dim1=1, dim2=2).mean(1) for each in (gram, self._gram))
        least = ROUNDING * squares if ridge else torch.zeros_like(squares)
        return torch.maximum(ridge * varying, least).clamp_min(1e-200)[:, None, None]

    def error(self, weights: torch.Tensor) -> float:
        """The squared error that `weights` leave, over that of giving zero (of giving the mean, with an intercept)."""
        squares = self._centred()[2]
        return float((self.errors(weights).sum() / squares.sum().clamp_min(1e-300)).detach())

    def errors(self, weights: torch.Tensor) -> torch.Tensor:
        """The squared error that `weights` leave of each output: groups x 1 x outputs."""
        gram, cross, squares = self._centred()
        explained = ((2 * cross - gram @ weights) * weights).sum(1, keepdim=True)
        return (squares - explained).clamp_min(0)

    def _centred(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        if not self._has_intercept:
            return self._gram, self._cross, self._squares
        gram = self._gram - self._input_sum.mT @ self._input_sum / self._count
        cross = self._cross - self._input_sum.mT @ self._target_sum / self._count
        return gram, cross, self._squares - self._target_sum.square() / self._count
