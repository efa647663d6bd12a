"""Gives every weight of a layer its entry of a codebook so that the layer's output changes least, at a price for bits.

As GPTQ rounds to a grid (Frantar et al., 2022), but to any few values and with an eye to the length of their codes: what
an entry does to the output is made up for by the inputs still to come. So a weight may become zero, which is an entry too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from edgepress.compress._reconstruction.order import Order
from edgepress.compress._sharing.codebook import ENTRY_BITS, Codebook


@dataclass(frozen=True)
class Entries:
    """The values that weights may take, zero the first of them, and the bits of their codes."""

    values: torch.Tensor
    bits: torch.Tensor

    @classmethod
    def of(cls, book: Codebook, counts: np.ndarray) -> Entries:
        """`counts` says how often zero and each of the book's values are expected."""
        values = torch.tensor([0.0, *book.values], dtype=torch.float64)
        shares = np.maximum(counts, 1) / np.maximum(counts, 1).sum()
        return cls(values, torch.from_numpy(-np.log2(shares)))

    def counts(self, chosen: torch.Tensor) -> np.ndarray:
        found: np.ndarray = torch.bincount(chosen.flatten(), minlength=len(self.values)).numpy()
        return found


def assigned(
    weight: torch.Tensor, order: Order, entries: Entries, price: float, stays_zero: torch.Tensor
) -> torch.Tensor:
    """The number of each weight's entry. weight, stays_zero (bool): groups x outputs x inputs.

    An entry costs its squared error, times what is not made up for, and `price` times its bits.
    """
    chosen = torch.zeros(weight.mT.shape, dtype=torch.int64)
    cost = price * entries.bits

    def cheapest(place: int, now: torch.Tensor, pivot: torch.Tensor) -> torch.Tensor:
        loss = ((now[..., None] - entries.values) / pivot[..., None]).square() + cost
        chosen[:, place] = loss.argmin(-1).masked_fill(stays_zero[..., place], 0)
        return entries.values[chosen[:, place]]

    order.decide(weight, cheapest)
    return chosen.mT.contiguous()


def coded_bits(counts: np.ndarray) -> float:
    """What weights that take entries so often need behind an entropy coder, the codebook included; zero is first."""
    seen = counts[counts > 0]
    entropy = float((seen * np.log2(seen.sum() / seen)).sum())
    return entropy + ENTRY_BITS * int(np.count_nonzero(counts[1:]))
