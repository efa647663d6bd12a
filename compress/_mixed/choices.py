"""Chooses for every layer one of several precisions: the least noise for a cost, or the least cost for a noise.

A multiple-choice knapsack, solved exactly over costs rounded up to whole steps, by dynamic programming.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

STEPS = 4096
"""Of the largest cost. Each layer is rounded up by one step at most: of a network of 50 layers that is about 1 %."""


@dataclass(frozen=True)
class Choice:
    """One precision of one layer: what it costs, and which share of the output's energy its noise has there."""

    name: str
    cost: float
    noise: float


class Front:
    """For every cost the least noise that all layers together can have at it, and the choices that give it."""

    def __init__(self, layers: Sequence[Sequence[Choice]]) -> None:
        """`layers` holds the choices of each layer, one at least."""
        self._layers = layers
        largest = sum(max(choice.cost for choice in choices) for choices in layers)
        self._step = largest / STEPS or 1.0
        steps = [[int(np.ceil(choice.cost / self._step)) for choice in choices] for choices in layers]
        self._steps = steps
        size = sum(max(costs) for costs in steps) + 1
        self._taken = np.zeros((len(layers), size), np.int8)
        noise = np.full(size, np.inf)
        noise[0] = 0.0
        for number, choices in enumerate(layers):
            tried = np.stack(
                [
                    _later(noise, cost) + choice.noise
                    for choice, cost in zip(choices, steps[number], strict=True)
                ]
            )
            self._taken[number] = tried.argmin(0)
            noise = tried.min(0)
        self._noise = noise

    @property
    def least_cost(self) -> float:
        """That of the cheapest choices."""
        return sum(min(choice.cost for choice in choices) for choices in self._layers)

    def within_cost(self, cost: float) -> tuple[Choice, ...] | None:
        """The choices with the least noise that cost at most this; None where there are none."""
        affordable = self._noise[: int(cost / self._step) + 1]
        if not np.isfinite(affordable).any():
            return None
        return self._choices(int(affordable.argmin()))

    def within_noise(self, noise: float) -> tuple[Choice, ...] | None:
        """The cheapest choices whose noise is at most this; None where there are none."""
        quiet = np.flatnonzero(self._noise <= noise)
        return self._choices(int(quiet[0])) if len(quiet) else None

    def _choices(self, cost: int) -> tuple[Choice, ...]:
        """Back from the last layer to the first."""
        found = []
        for number in reversed(range(len(self._layers))):
            place = int(self._taken[number, cost])
            found.append(self._layers[number][place])
            cost -= self._steps[number][place]
        return tuple(reversed(found))


def _later(noise: np.ndarray, cost: int) -> np.ndarray:
    """The same noise at a cost that is higher by this many steps."""
    moved = np.full_like(noise, np.inf)
    moved[cost:] = noise[: len(noise) - cost]
    return moved
