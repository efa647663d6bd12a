"""In which order the weights of a layer are decided, and what those to come make up for.

An error of one weight changes the output, and most of that can be undone by the weights that are still open: how, says
least squares (Hassibi and Stork, 1993, Optimal Brain Surgeon; Frantar et al., 2022, GPTQ). With U the upper Cholesky factor
of the inverse of the inputs' second moments H, an error e of input j is best made up for by taking e / U[j, j] * U[j, k] off
each input k behind it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

DAMPING = 0.01
"""Added to the second moments' diagonal, times its mean: inputs that hardly occur must not take errors over."""

BLOCK, STEP = 64, 16
"""Inputs whose errors are handed on together: to all that follow, and within these."""

Decision = Callable[[int, torch.Tensor, torch.Tensor], torch.Tensor]
"""Of an input's number, its weights as they are now (groups x outputs), and their pivots (groups x 1), by whose squares a
squared error is divided: what the weights are to be."""


@dataclass(frozen=True)
class Order(ABC):
    """`inputs`: their numbers, the loudest first, which leave the others to make up for them. `blocks`: of U in this order,
    what lies on the diagonal (groups x BLOCK x BLOCK, the last one less). What lies beside it, each form knows."""

    inputs: torch.Tensor
    blocks: tuple[torch.Tensor, ...]

    def importance(self) -> torch.Tensor:
        """How much an error of a weight counts that only the inputs behind it make up for: groups x inputs."""
        pivots = torch.cat([block.diagonal(dim1=1, dim2=2) for block in self.blocks], 1)
        return torch.empty_like(pivots).index_copy_(1, self.inputs, pivots**-2)

    def decide(self, weight: torch.Tensor, decision: Decision) -> None:
        """Ask for a decision about one input after the other; each finds its weights as all before it have left them.

        weight: groups x outputs x inputs, float64.
        """
        carried = self._nothing(weight)
        for number, (places, block) in enumerate(zip(self.inputs.split(BLOCK), self.blocks, strict=True)):
            now = weight.mT[:, places] - self._due(carried, number)
            self._hand_on(carried, _decided(now, places.tolist(), block, decision), number)

    @abstractmethod
    def _nothing(self, weight: torch.Tensor) -> torch.Tensor:
        """What is handed on before any error was made."""

    @abstractmethod
    def _due(self, carried: torch.Tensor, block: int) -> torch.Tensor:
        """What the weights of a block are to make up for: groups x inputs of the block x outputs."""

    @abstractmethod
    def _hand_on(self, carried: torch.Tensor, errors: torch.Tensor, block: int) -> None:
        """Add the errors of a block to what is carried, in place."""


def _decided(
    now: torch.Tensor, places: Sequence[int], block: torch.Tensor, decision: Decision
) -> torch.Tensor:
    """The errors, in pivots, of the inputs of a block, whose weights are `now` (groups x inputs x outputs, overwritten)."""
    errors = torch.empty_like(now)
    for start in range(0, len(places), STEP):
        end = min(start + STEP, len(places))
        for row in range(start, end):
            pivot = block[:, row, row, None]
            errors[:, row] = (now[:, row] - decision(places[row], now[:, row], pivot)) / pivot
            now[:, row + 1 : end] -= block[:, row, row + 1 : end, None] * errors[:, row, None]
        now[:, end:] -= block[:, start:end, end:].mT @ errors[:, start:end]
    return errors


@dataclass(frozen=True)
class OrderOfMoments(Order):
    """`upper` is U itself: groups x inputs x inputs. All errors are carried."""

    upper: torch.Tensor

    @classmethod
    def of(cls, gram: torch.Tensor) -> OrderOfMoments:
        """gram: the second moments, groups x inputs x inputs."""
        diagonal = gram.diagonal(dim1=1, dim2=2)
        inputs = _loudest_first(diagonal)
        identity = torch.eye(gram.shape[-1], dtype=gram.dtype)
        upper = _inverse_root((gram + _damping(diagonal) * identity)[:, inputs][:, :, inputs])
        blocks = [upper[:, one][:, :, one] for one in _slices(len(inputs))]
        return cls(inputs, tuple(blocks), upper)

    def _nothing(self, weight: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(weight.mT, memory_format=torch.contiguous_format)

    def _due(self, carried: torch.Tensor, block: int) -> torch.Tensor:
        start = block * BLOCK
        return self.upper[:, :start, start : start + BLOCK].mT @ carried[:, :start]

    def _hand_on(self, carried: torch.Tensor, errors: torch.Tensor, block: int) -> None:
        carried[:, block * BLOCK : block * BLOCK + errors.shape[1]] = errors


@dataclass(frozen=True)
class OrderOfRows(Order):
    """The same U, of N rows of inputs X, without a matrix of inputs x inputs.

    H is X^T X and the damping d, so of a block B of inputs and the inputs R behind it, with M = d I + X_R X_R^T (N x N),
    U[B, B] is the root of the inverse of d (I + X_B^T M^-1 X_B), and U[B, R] is `ways[B]` @ X_R, where `ways[B]`
    = -U[B, B] X_B^T M^-1. So what is carried are N numbers for each output: what the errors do to the rows' outputs
    that has not been made up for.
    """

    ways: tuple[torch.Tensor, ...]
    rows: torch.Tensor

    @classmethod
    def of(cls, rows: torch.Tensor) -> OrderOfRows:
        """rows: groups x rows x inputs, float64.

        The inverse of M is kept from the last block to the first. It begins as I / d and only becomes smaller, so what is
        rounded on the way does not grow.
        """
        diagonal = rows.square().sum(1)
        inputs, damping = _loudest_first(diagonal), _damping(diagonal)
        rows = rows[:, :, inputs]
        inverse = torch.eye(rows.shape[1], dtype=rows.dtype) / damping
        blocks, ways = [], []
        for one in reversed(_slices(len(inputs))):
            read = rows[:, :, one]
            turned = inverse @ read
            identity = torch.eye(read.shape[2], dtype=rows.dtype)
            blocks.append(_inverse_root(damping * (identity + read.mT @ turned)))
            ways.append(-blocks[-1] @ turned.mT)
            inverse = inverse - damping * (ways[-1].mT @ ways[-1])
        return cls(inputs, tuple(reversed(blocks)), tuple(reversed(ways)), rows)

    def _nothing(self, weight: torch.Tensor) -> torch.Tensor:
        return weight.new_zeros(len(weight), self.rows.shape[1], weight.shape[1])

    def _due(self, carried: torch.Tensor, block: int) -> torch.Tensor:
        return self.rows[:, :, block * BLOCK : (block + 1) * BLOCK].mT @ carried

    def _hand_on(self, carried: torch.Tensor, errors: torch.Tensor, block: int) -> None:
        carried.baddbmm_(self.ways[block].mT, errors)


def _slices(inputs: int) -> list[slice]:
    return [slice(start, min(start + BLOCK, inputs)) for start in range(0, inputs, BLOCK)]


def _loudest_first(diagonal: torch.Tensor) -> torch.Tensor:
    return diagonal.sum(0).argsort(descending=True)


def _damping(diagonal: torch.Tensor) -> torch.Tensor:
    """groups x 1 x 1: what makes the second moments safe to invert, dead inputs included."""
    means = diagonal.mean(1)[:, None, None]
    return DAMPING * torch.where(means == 0, torch.ones_like(means), means)


def _inverse_root(matrix: torch.Tensor) -> torch.Tensor:
    """The upper triangular U with U^T U = matrix^-1."""
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(matrix))
    root: torch.Tensor = torch.linalg.cholesky(inverse, upper=True)
    return root
