"""Rounds the weights of a layer so that its output changes least, which rounding each to nearest does not do.

What the output's squared error is, the layer's inputs say in one matrix of second moments, their Gram matrix: no
sample has to be seen again, and no label.
"""

from __future__ import annotations

import functools
from typing import Literal, Protocol

import torch

Rounding = Literal["nearest", "gptq", "adaround", "block"]

DAMPING = 0.01
"""Added to the Gram matrix's diagonal, times its mean: inputs that hardly occur must not take errors over."""

BLOCK = 64
"""Columns whose errors are handed on together."""

STEPS = 1000
RATE = 0.03
STRETCH = (-0.1, 1.1)
PULL = 1.0
SHARPEST, BLUNTEST = 2.0, 20.0
"""AdaRound: steps of Adam, their size, how far the sigmoid is stretched, how strongly (against a layer's own error of
rounding) fractions are pulled to 0 and 1, and the exponent of that pull at the end and in the beginning."""


class Rounder(Protocol):
    """Rounds the weights of one layer, whose inputs it knows."""

    def __call__(
        self, weight: torch.Tensor, scales: torch.Tensor, limit: int, kept: torch.Tensor | None = None
    ) -> torch.Tensor:
        """weight: groups x outputs x inputs, float64; scales: groups x outputs. Returns integers in the weight's shape.
        Where `kept` (bool) is false, they are zero."""
        ...


def gptq(gram: torch.Tensor) -> Rounder:
    """Round input by input; what each rounding does to the output is made up for by the inputs still to come
    (Frantar et al., 2022, GPTQ; Hassibi and Stork, 1993).

    gram: groups x inputs x inputs. Its factors, which take longer than all else in layers of many inputs, serve all
    scales that are tried.
    """
    order = gram.diagonal(dim1=1, dim2=2).sum(0).argsort(descending=True)
    hidden = _damped(gram)[:, order][:, :, order]
    upper = torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(hidden)), upper=True)
    return functools.partial(_gptq, order, upper)


def _gptq(
    order: torch.Tensor,
    upper: torch.Tensor,
    weight: torch.Tensor,
    scales: torch.Tensor,
    limit: int,
    kept: torch.Tensor | None = None,
) -> torch.Tensor:
    left = (weight / scales[..., None])[..., order]
    stays = torch.ones_like(left, dtype=torch.bool) if kept is None else kept[..., order]
    made = torch.zeros_like(left)
    for start in range(0, left.shape[-1], BLOCK):
        end = min(start + BLOCK, left.shape[-1])
        errors = torch.zeros_like(left[..., start:end])
        for place in range(start, end):
            made[..., place] = left[..., place].round().clamp(-limit, limit) * stays[..., place]
            error = (left[..., place] - made[..., place]) / upper[:, None, place, place]
            left[..., place:end] -= error[..., None] * upper[:, None, place, place:end]
            errors[..., place - start] = error
        left[..., end:] -= errors @ upper[:, start:end, end:]
    return torch.empty_like(made).index_copy_(2, order, made)


def adaround(gram: torch.Tensor) -> Rounder:
    """Learn of every weight whether it is rounded up or down (Nagel et al., 2020, Up or Down?).

    The squared error of the layer's output, a quadratic form with the Gram matrix (groups x inputs x inputs), is
    minimised by Adam over fractions between 0 and 1, which a growing pull makes whole.
    """
    metric = _damped(gram) / gram.diagonal(dim1=1, dim2=2).mean(1).clamp(min=1e-30)[:, None, None]
    return functools.partial(_adaround, metric.float())


def _adaround(
    metric: torch.Tensor,
    weight: torch.Tensor,
    scales: torch.Tensor,
    limit: int,
    kept: torch.Tensor | None = None,
) -> torch.Tensor:
    exact = weight / scales[..., None]
    low = exact.floor()
    exact, low = exact.float(), low.float()
    fractions = Fractions(exact - low)
    optimizer = torch.optim.Adam([fractions.learned], RATE)
    with torch.enable_grad():
        for step in range(STEPS):
            fraction = fractions.now()
            error = (low + fraction).clamp(-limit, limit) - exact
            loss = ((error @ metric) * error).sum() + PULL * undecided(fraction, step / STEPS)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    made = (low + fractions.decided()).clamp(-limit, limit).double()
    return made if kept is None else made * kept


class Fractions:
    """Numbers between 0 and 1, in the shape of `start` (float32), that can become whole while they are learned."""

    def __init__(self, start: torch.Tensor) -> None:
        bottom, top = STRETCH
        share = ((start - bottom) / (top - bottom)).clamp(1e-4, 1 - 1e-4)
        self.learned = (share / (1 - share)).log().requires_grad_()

    def now(self) -> torch.Tensor:
        bottom, top = STRETCH
        return (self.learned.sigmoid() * (top - bottom) + bottom).clamp(0, 1)

    def decided(self) -> torch.Tensor:
        """Which of them are nearer to 1."""
        return self.learned.detach() > 0


def undecided(fraction: torch.Tensor, done: float) -> torch.Tensor:
    """What is to be least for fractions to become whole, once that much of the learning is `done`: first for those that
    nearly are, later for all."""
    exponent = SHARPEST + (BLUNTEST - SHARPEST) * (1 - done)
    return min(1.0, 2 * done) * (1 - (2 * fraction - 1).abs().pow(exponent)).sum()


def _damped(gram: torch.Tensor) -> torch.Tensor:
    """The matrix made safe to invert, dead inputs included."""
    means = gram.diagonal(dim1=1, dim2=2).mean(1)
    means = torch.where(means == 0, torch.ones_like(means), means)
    return gram + DAMPING * means[:, None, None] * torch.eye(gram.shape[-1], dtype=gram.dtype)
