"""How many values each layer gets: as many as bits give, as few as its outputs allow, or the best that a size allows."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from edgepress.compress._sharing.codebook import Codebook, Initialisation, Points
from edgepress.compress._sparse.layers import Layer
from edgepress.errors import BudgetMissed

MOST_BITS = 8
DEAREST = 40
"""Prices are powers of two: at 2**40 a bit costs more than all weights are worth, at 2**-40 nothing."""
PRICE_STEPS = 24
"""Halvings of the range of exponents: sizes are met to a few bytes."""

T = TypeVar("T")


@dataclass(frozen=True)
class Sharing:
    """The values of a layer's weights. `noise` is the share of the output's energy that is lost, where inputs are
    uncorrelated (or measured, once fitted); `coded_bytes` what weights, zeros among them, and codebook take behind an
    entropy coder. `most_values` is what was asked for, where it was a number of values."""

    codebook: Codebook
    noise: float
    coded_bytes: float
    most_values: int | None = None

    @property
    def bits(self) -> int:
        """Of a code of fixed length for what is not zero."""
        return max(1, (len(self.codebook.values) - 1).bit_length())


class Sharable:
    """A layer whose weights can share values. `weight` is in any shape, `importance` in the same, or None."""

    def __init__(self, layer: Layer, weight: np.ndarray, importance: np.ndarray | None) -> None:
        self.layer, self.weight = layer, weight
        self._present = weight != 0
        self._points = Points.of(
            weight[self._present], None if importance is None else importance[self._present]
        )

    @property
    def nonzero(self) -> int:
        return int(np.count_nonzero(self._present))

    def with_bits(self, bits: int, initialisation: Initialisation, seed: int) -> Sharing:
        """At most 2**bits values besides zero."""
        made = self._sharing(self._points.of_size(2**bits, initialisation, seed))
        return dataclasses.replace(made, most_values=2**bits)

    def at_price(self, price: float) -> Sharing:
        """What is best where a bit costs `price` of the output's noise, in its energy's share for each weight."""
        return self._sharing(self._points.at_price(price * self._points.energy / self.weight.size))

    def shared(self, sharing: Sharing) -> np.ndarray:
        """The weights with the codebook's values; zeros stay zeros."""
        found = np.zeros_like(self.weight)
        book = sharing.codebook
        found[self._present] = book.values[book.indices(self.weight[self._present])]
        return found

    def _sharing(self, book: Codebook) -> Sharing:
        bits = book.code_bits + _zeros_bits(self.weight.size, self.nonzero)
        return Sharing(book, book.error / self._points.energy, bits / 8)


def fewest_values(layer: Sharable, sqnr_db: float) -> Sharing:
    """The least that leaves the layer's outputs this ratio of signal to noise."""
    most = 10 ** (-sqnr_db / 10)
    return _dearest(layer.at_price, lambda sharing: sharing.noise <= most)


def within(layers: Sequence[Sharable], most_bytes: float, effects: Sequence[float]) -> list[Sharing]:
    """Values for all layers that take at most so many bytes together, with the least noise summed over the layers,
    each times its effect: the same price for a bit in each of them. Raises BudgetMissed."""

    def at_price(price: float) -> list[Sharing]:
        # A price of the noise itself, which is a share of the layer's energy whatever its size.
        return [
            layer.at_price(price * layer.weight.size / effect)
            for layer, effect in zip(layers, effects, strict=True)
        ]

    def size(chosen: Sequence[Sharing]) -> float:
        return sum(sharing.coded_bytes for sharing in chosen)

    least = at_price(2.0**DEAREST)
    if size(least) > most_bytes:
        raise BudgetMissed(
            f"The shared weights take {size(least):,.0f} bytes at least, more than {most_bytes:,.0f}.",
            hint="prune weights before (prune_weights): zeros need no codebook entry and few bits",
        )
    return _cheapest(at_price, lambda chosen: size(chosen) <= most_bytes)


def _dearest(at_price: Callable[[float], T], holds: Callable[[T], bool]) -> T:
    """What the highest price gives at which it still holds; what the lowest gives where it never does."""
    low, high = -float(DEAREST), float(DEAREST)
    found = at_price(2.0**low)
    for _ in range(PRICE_STEPS):
        middle = (low + high) / 2
        candidate = at_price(2.0**middle)
        if holds(candidate):
            low, found = middle, candidate
        else:
            high = middle
    return found


def _cheapest(at_price: Callable[[float], T], holds: Callable[[T], bool]) -> T:
    """What the lowest price gives at which it holds, as it does at the highest."""
    return _dearest(lambda price: at_price(1 / price), holds)


def _zeros_bits(size: int, nonzero: int) -> float:
    """What it takes to say which weights are zero."""
    counts = np.array([nonzero, size - nonzero])
    return float((counts * np.log2(size / np.maximum(counts, 1))).sum())
