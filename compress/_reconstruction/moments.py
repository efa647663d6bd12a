"""The second moments of what a layer reads, as a matrix or, where it has read little, as the rows that they are of."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch

from edgepress.compress._reconstruction.order import Order, OrderOfMoments, OrderOfRows


class Moments(ABC):
    """The sums of products of each two inputs over all rows: groups x inputs x inputs, spelt out or not."""

    @abstractmethod
    def diagonal(self) -> torch.Tensor:
        """groups x inputs."""

    @abstractmethod
    def times(self, weights: torch.Tensor) -> torch.Tensor:
        """The matrix times weights, groups x inputs x outputs."""

    @abstractmethod
    def squares(self, weights: torch.Tensor) -> torch.Tensor:
        """The sum of squares of what `weights` (groups x inputs x outputs) make of the rows: groups x 1 x outputs."""

    @abstractmethod
    def order(self) -> Order:
        """In which order to decide on weights; finding it takes longer than all else in layers of many inputs."""

    @abstractmethod
    def relative(self) -> Moments:
        """Divided by the mean of each group's diagonal, in float32."""


@dataclass(frozen=True)
class Gram(Moments):
    """The matrix itself, float64."""

    gram: torch.Tensor

    def diagonal(self) -> torch.Tensor:
        return self.gram.diagonal(dim1=1, dim2=2)

    def times(self, weights: torch.Tensor) -> torch.Tensor:
        return self.gram @ weights

    def squares(self, weights: torch.Tensor) -> torch.Tensor:
        return (self.times(weights) * weights).sum(1, keepdim=True)

    def order(self) -> Order:
        return OrderOfMoments.of(self.gram)

    def relative(self) -> Moments:
        return Gram((self.gram / _mean(self)).float())


@dataclass(frozen=True)
class Rows(Moments):
    """groups x rows x inputs, float64. Whatever is asked for costs inputs x rows where the matrix costs inputs squared or
    cubed."""

    rows: torch.Tensor

    def diagonal(self) -> torch.Tensor:
        return self.rows.square().sum(1)

    def times(self, weights: torch.Tensor) -> torch.Tensor:
        return self.rows.mT @ (self.rows @ weights)

    def squares(self, weights: torch.Tensor) -> torch.Tensor:
        return (self.rows @ weights).square().sum(1, keepdim=True)

    def order(self) -> Order:
        return OrderOfRows.of(self.rows)

    def relative(self) -> Moments:
        return Rows((self.rows / _mean(self).sqrt()).float())


def _mean(moments: Moments) -> torch.Tensor:
    """Of the diagonal, groups x 1 x 1."""
    return moments.diagonal().mean(1).clamp(min=1e-30)[:, None, None]
