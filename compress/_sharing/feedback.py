"""Gives every weight of a layer its entry of a codebook so that the layer's output changes least, at a price for bits.

As GPTQ rounds to a grid (Frantar et al., 2022), but to any few values and with an eye to the length of their codes: what
an entry does to the output is made up for by the inputs still to come. So a weight may become zero, which is an entry too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from edgepress.compress._sharing.codebook import ENTRY_BITS, Codebook

DAMPING = 0.01
"""Added to the Gram matrix's diagonal, times its mean: inputs that hardly occur must not take errors over."""


@dataclass(frozen=True)
class Order:
    """The inputs of a layer in the order in which their weights are decided, and the Cholesky factor of the inverse
    Gram matrix in this order (groups x inputs x inputs), by which errors are handed on."""

    inputs: torch.Tensor
    upper: torch.Tensor

    @classmethod
    def of(cls, gram: torch.Tensor) -> Order:
        """The loudest inputs first, which leave the others to make up for them. gram: groups x inputs x inputs."""
        inputs = gram.diagonal(dim1=1, dim2=2).sum(0).argsort(descending=True)
        mean = gram.diagonal(dim1=1, dim2=2).mean(1)
        mean = torch.where(mean > 0, mean, torch.ones_like(mean))
        identity = torch.eye(gram.shape[-1], dtype=gram.dtype)
        damped = (gram + DAMPING * mean[:, None, None] * identity)[:, inputs][:, :, inputs]
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(damped))
        return cls(inputs, torch.linalg.cholesky(inverse, upper=True))

    def importance(self) -> torch.Tensor:
        """How much an error of a weight counts that only the inputs behind it make up for: groups x inputs."""
        found = torch.empty(self.upper.shape[:2], dtype=self.upper.dtype)
        return found.index_copy_(1, self.inputs, self.upper.diagonal(dim1=1, dim2=2) ** -2)


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
    left, zero = weight[..., order.inputs], stays_zero[..., order.inputs]
    chosen = torch.zeros(left.shape, dtype=torch.int64)
    cost = price * entries.bits
    for place in range(left.shape[-1]):
        scale = order.upper[:, place, place, None]
        now = left[..., place]
        loss = ((now[..., None] - entries.values) / scale[..., None]).square() + cost
        choice = loss.argmin(-1).masked_fill(zero[..., place], 0)
        error = (now - entries.values[choice]) / scale
        chosen[..., place] = choice
        left[..., place:] -= error[..., None] * order.upper[:, None, place, place:]
    return torch.empty_like(chosen).index_copy_(2, order.inputs, chosen)


def coded_bits(counts: np.ndarray) -> float:
    """What weights that take entries so often need behind an entropy coder, the codebook included; zero is first."""
    seen = counts[counts > 0]
    entropy = float((seen * np.log2(seen.sum() / seen)).sum())
    return entropy + ENTRY_BITS * int(np.count_nonzero(counts[1:]))
