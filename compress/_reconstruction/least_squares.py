"""Linear least squares with a pull towards old weights, in float64, of rows that are added bit by bit."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from edgepress.compress._reconstruction.moments import Gram, Moments, Rows

ROUNDING = 1e-7
"""Of an input's mean square, the penalty at the least: a constant that is rounded to float32 varies by so much."""
CONJUGATE_STEPS = 60
"""Each finds the best along one more direction: from weights that are nearly right, more change nothing."""

INPUTS_A_ROW = 2
"""Rows are kept while there are so many inputs for each, and sums over them from then on. Up to there all that is asked of
them costs less of the rows: an order of rounding 4 rows^2 inputs, not 4/3 inputs^3, and following it or an error
4 rows inputs outputs, not 2 inputs^2 outputs. In float32, they take a quarter of the memory at most."""


class LeastSquares:
    """Finds the weights (groups x inputs x outputs) that make `targets` of `inputs`, with an intercept or without.

    However many rows there are, what is kept is bounded: the rows, while they are few beside the inputs, and then sums over
    them, groups x inputs x (inputs + outputs) numbers.
    """

    def __init__(self, groups: int, inputs: int, outputs: int, *, has_intercept: bool) -> None:
        self.groups, self.inputs, self.outputs = groups, inputs, outputs
        self._count = 0
        self._has_intercept = has_intercept
        self._parts: list[tuple[torch.Tensor, torch.Tensor]] = []
        self._sums: _Sums | None = None
        self._input_sum = torch.zeros(groups, 1, inputs, dtype=torch.float64)
        self._target_sum = torch.zeros(groups, 1, outputs, dtype=torch.float64)
        self._squares = torch.zeros(groups, 1, outputs, dtype=torch.float64)

    def add(self, inputs: torch.Tensor, targets: torch.Tensor) -> None:
        """inputs: groups x rows x inputs; targets: groups x rows x outputs. Both may be kept as they are."""
        self._count += inputs.shape[1]
        self._input_sum += inputs.double().sum(1, keepdim=True)
        self._target_sum += targets.double().sum(1, keepdim=True)
        self._squares += targets.double().square().sum(1, keepdim=True)
        self._parts.append((inputs, targets))
        if INPUTS_A_ROW * self._count <= self.inputs:
            return
        self._sums = self._sums or _Sums.nothing(self.groups, self.inputs, self.outputs)
        for part in self._parts:
            self._sums.add(*part)
        self._parts.clear()

    @property
    def target_mean(self) -> torch.Tensor:
        """groups x 1 x outputs."""
        return self._target_sum / self._count

    @property
    def moments(self) -> Moments:
        """Of the inputs; with an intercept, of how they depart from their means."""
        return self._centred()[0]

    def mean(self, weights: torch.Tensor) -> torch.Tensor:
        """The mean of what `weights` make of the inputs: groups x 1 x outputs."""
        return self._input_sum @ weights / self._count

    def variance(self, weights: torch.Tensor) -> torch.Tensor:
        """The variance of what `weights` make of the inputs: groups x 1 x outputs."""
        square = self._kept().squares(weights) / self._count
        return (square - self.mean(weights).square()).clamp_min(0)

    def solve(self, old: torch.Tensor, ridge: float) -> torch.Tensor:
        """The weights: a squared distance of 1 from `old` costs `ridge` times the mean square of an input."""
        system, _ = self._centred()
        return system.solve(old, self._penalty(system, ridge))

    def solve_kept(self, old: torch.Tensor, kept: torch.Tensor, ridge: float) -> torch.Tensor:
        """As `solve`, for weights that are zero wherever `kept` is false, as `old` is: by conjugate gradients."""
        system, _ = self._centred()
        penalty = self._penalty(system, ridge)
        weights = old.clone()
        left = system.left(weights) * kept
        way, size = left.clone(), left.square().sum(1, keepdim=True)
        for _ in range(CONJUGATE_STEPS):
            turned = (system.times(way) + penalty * way) * kept
            length = size / (way * turned).sum(1, keepdim=True).clamp_min(1e-300)
            weights += length * way
            left -= length * turned
            before, size = size, left.square().sum(1, keepdim=True)
            way = left + size / before.clamp_min(1e-300) * way
        return weights

    def _penalty(self, centred: Moments, ridge: float) -> torch.Tensor:
        """groups x 1 x 1. Inputs that are all zero, or that vary no more than they are rounded, leave the weights where
        they are: what their rounding explains would be weights without bounds. Without a ridge there is none."""
        varying, squares = (each.diagonal().mean(1) for each in (centred, self._kept()))
        least = ROUNDING * squares if ridge else torch.zeros_like(squares)
        return torch.maximum(ridge * varying, least).clamp_min(1e-200)[:, None, None]

    def error(self, weights: torch.Tensor) -> float:
        """The squared error that `weights` leave, over that of giving zero (of giving the mean, with an intercept)."""
        return float((self.errors(weights).sum() / self.squares.sum().clamp_min(1e-300)).detach())

    @property
    def squares(self) -> torch.Tensor:
        """Of each output's targets (less their means, with an intercept) the sum of squares: groups x 1 x outputs."""
        return self._centred()[1]

    def errors(self, weights: torch.Tensor, outputs: slice = slice(None)) -> torch.Tensor:
        """The squared error that `weights` leave of each output, or of those of these `outputs`: groups x 1 x outputs."""
        system, squares = self._centred()
        return (squares[..., outputs] - system.explained(weights, outputs)).clamp_min(0)

    def _kept(self) -> _Sums | _Samples:
        if self._sums is not None:
            return self._sums
        inputs, targets = (torch.cat(part, 1).double() for part in zip(*self._parts, strict=True))
        return _Samples(inputs, targets)

    def _centred(self) -> tuple[_Sums | _Samples, torch.Tensor]:
        """With an intercept, less the means; and the targets' sums of squares, likewise."""
        kept = self._kept()
        if not self._has_intercept:
            return kept, self._squares
        squares = self._squares - self._target_sum.square() / self._count
        return kept.centred(self._input_sum, self._target_sum, self._count), squares


@dataclass(frozen=True)
class _Sums(Gram):
    """Normal equations: the products of the inputs with each other, and with the targets (groups x inputs x outputs)."""

    cross: torch.Tensor

    @classmethod
    def nothing(cls, groups: int, inputs: int, outputs: int) -> _Sums:
        gram = torch.zeros(groups, inputs, inputs, dtype=torch.float64)
        return cls(gram, torch.zeros(groups, inputs, outputs, dtype=torch.float64))

    def add(self, inputs: torch.Tensor, targets: torch.Tensor) -> None:
        """In place."""
        inputs = inputs.double()
        self.gram.add_(inputs.mT @ inputs)
        self.cross.add_(inputs.mT @ targets.double())

    def centred(self, inputs: torch.Tensor, targets: torch.Tensor, count: int) -> _Sums:
        """Of the rows less their means. inputs, targets: the sums over `count` rows."""
        return _Sums(self.gram - inputs.mT @ inputs / count, self.cross - inputs.mT @ targets / count)

    def left(self, weights: torch.Tensor) -> torch.Tensor:
        """The products of the inputs with what `weights` leave of the targets: groups x inputs x outputs."""
        return self.cross - self.times(weights)

    def explained(self, weights: torch.Tensor, outputs: slice) -> torch.Tensor:
        """By how much less these outputs' squares are without what `weights` make: groups x 1 x outputs."""
        return ((2 * self.cross[..., outputs] - self.times(weights)) * weights).sum(1, keepdim=True)

    def solve(self, old: torch.Tensor, penalty: torch.Tensor) -> torch.Tensor:
        """The weights for which the squared error and `penalty` times their squared distance from `old` are least."""
        identity = torch.eye(self.gram.shape[-1], dtype=torch.float64)
        found: torch.Tensor = torch.linalg.solve(self.gram + penalty * identity, self.cross + penalty * old)
        return found


@dataclass(frozen=True)
class _Samples(Rows):
    """As `_Sums`, with the rows of targets beside those of inputs: groups x rows x outputs."""

    targets: torch.Tensor

    def centred(self, inputs: torch.Tensor, targets: torch.Tensor, count: int) -> _Samples:
        return _Samples(self.rows - inputs / count, self.targets - targets / count)

    def left(self, weights: torch.Tensor) -> torch.Tensor:
        return self.rows.mT @ (self.targets - self.rows @ weights)

    def explained(self, weights: torch.Tensor, outputs: slice) -> torch.Tensor:
        made = self.rows @ weights
        return ((2 * self.targets[..., outputs] - made) * made).sum(1, keepdim=True)

    def solve(self, old: torch.Tensor, penalty: torch.Tensor) -> torch.Tensor:
        """By the rows' own products: (H + p I)^-1 X^T = X^T (X X^T + p I)^-1, where H = X^T X."""
        products = self.rows @ self.rows.mT + penalty * torch.eye(self.rows.shape[1], dtype=torch.float64)
        duals = torch.linalg.solve(products, self.targets - self.rows @ old)
        return old.baddbmm(self.rows.mT, duals)
