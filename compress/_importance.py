"""How much each channel of a group matters: one function a criterion, a group in, one score a channel out.

A group holds channels that the same layers make and read. A channel's score sums over every tensor slice
that would go with it, so that a channel shared by a whole residual stage is judged by all of its filters.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

Role = Literal["filter", "reader", "scale", "shift"]


@dataclass(frozen=True, eq=False)
class Slices:
    """The slices of one stored tensor that go with the channels of a group: the filters that make them, what
    reads them, a batch-norm's scale, or any other value a channel (shift).

    `values` is rows x elements; row r belongs to channel `places[r]` of the group. `gradients`, of the same
    shape with the batches in front, is the loss's gradient where the criterion asked for it.
    """

    role: Role
    places: np.ndarray
    values: np.ndarray
    gradients: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Group:
    """`size` channels and everything that goes with them."""

    size: int
    slices: tuple[Slices, ...]

    def sum(self, measure: Callable[[Slices], np.ndarray], *roles: Role) -> np.ndarray:
        """For each channel the sum of `measure` (slices in, one value a row out) over slices of these roles."""
        total = np.zeros(self.size)
        for slices in self.slices:
            if slices.role in roles:
                np.add.at(total, slices.places, measure(slices))
        return total


def l1(group: Group) -> np.ndarray:
    """The sum of absolute filter weights (Li et al., 2017, Pruning Filters for Efficient ConvNets)."""
    return group.sum(lambda slices: np.abs(slices.values).sum(1), "filter")


def l2(group: Group) -> np.ndarray:
    """The Euclidean norm of the filters (He et al., 2018, Soft Filter Pruning)."""
    squares = group.sum(lambda slices: np.square(slices.values).sum(1), "filter")
    return np.asarray(np.sqrt(squares))


def bn_scale(group: Group) -> np.ndarray:
    """The absolute batch-norm scale (Liu et al., 2017, Network Slimming)."""
    return group.sum(lambda slices: np.abs(slices.values).sum(1), "scale")


def taylor(group: Group) -> np.ndarray:
    """The squared first-order change of the loss, a mean over batches (Molchanov et al., 2019)."""

    def change(slices: Slices) -> np.ndarray:
        assert slices.gradients is not None, "the stage computes gradients for this criterion"
        return np.asarray((slices.gradients * slices.values).sum(-1))

    batches = [slices.gradients.shape[0] for slices in group.slices if slices.gradients is not None]
    total = np.zeros((group.size, max(batches, default=1)))
    for slices in group.slices:
        if slices.role != "reader" and slices.gradients is not None:
            np.add.at(total, slices.places, change(slices).T)
    return np.asarray(np.square(total).mean(1))


CRITERIA: dict[str, Callable[[Group], np.ndarray]] = {
    "l1": l1,
    "l2": l2,
    "bn_scale": bn_scale,
    "taylor": taylor,
}
