"""Rounds the weights of a layer so that its output changes least, which rounding each to nearest does not do.

What the output's squared error is, the second moments of the layer's inputs say: no sample has to be run again, and no
label.
"""

from __future__ import annotations

import functools
from typing import Literal, Protocol

import torch

from edgepress.compress._reconstruction.moments import Moments
from edgepress.compress._reconstruction.order import DAMPING, Order

Rounding = Literal["nearest", "gptq", "adaround", "block"]

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
        """weight: groups x outputs x inputs, float64; scales: groups x outputs. Returns integers (int8) in the weight's
        shape. Where `kept` (bool) is false, they are zero."""
        ...


def gptq(moments: Moments) -> Rounder:
    """Round input by input; what each rounding does to the output is made up for by the inputs still to come
    (Frantar et al., 2022, GPTQ). Their order serves all scales that are tried."""
    return functools.partial(_gptq, moments.order())


def _gptq(
    order: Order,
    weight: torch.Tensor,
    scales: torch.Tensor,
    limit: int,
    kept: torch.Tensor | None = None,
) -> torch.Tensor:
    made = torch.zeros(weight.mT.shape, dtype=torch.int8)

    def rounded(place: int, now: torch.Tensor, pivot: torch.Tensor) -> torch.Tensor:
        integers = (now / scales).round_().clamp_(-limit, limit)
        made[:, place] = integers if kept is None else integers * kept[..., place]
        return made[:, place] * scales

    order.decide(weight, rounded)
    return made.mT.contiguous()


def adaround(moments: Moments) -> Rounder:
    """Learn of every weight whether it is rounded up or down (Nagel et al., 2020, Up or Down?).

    The squared error of the layer's output is minimised by Adam over fractions between 0 and 1, which a growing pull makes
    whole.
    """
    return functools.partial(_adaround, moments.relative())


def _adaround(
    moments: Moments,
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
            loss = moments.squares(error.mT).sum() + DAMPING * error.square().sum()
            loss = loss + PULL * undecided(fraction, step / STEPS)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    made = (low + fractions.decided()).clamp(-limit, limit).to(torch.int8)
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
