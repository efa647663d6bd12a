"""A group of channels as a criterion sees it: what is stored for them, and what was seen of them on one batch."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from edgepress.errors import UnsupportedModel

Role = Literal["filter", "reader", "scale", "shift"]

ROLES: dict[Role, str] = {
    "filter": "a weight that makes the channels",
    "reader": "a layer that reads the channels",
    "scale": "a batch-norm behind the layer",
    "shift": "a bias, or a batch-norm behind the layer",
}
"""What there is where a group has slices of a role, in words."""

Evidence = Literal["weights", "gradients", "activations", "gates"]
"""What a criterion looks at. `weights`: the network alone, no data. All others are shown one batch of data
after the other: `gradients`, the loss's by every stored tensor; `activations`, for each sample and channel
the mean absolute value that is read; `gates`, for each sample and channel the derivative of the loss by a
factor (of one) on everything that is read of the channel."""


@dataclass(frozen=True, eq=False)
class Slices:
    """The slices of one stored tensor that go with the channels of a group: the filters that make them, what
    reads them, a batch-norm's scale, or any other value a channel (shift).

    They lie along `axis` of `tensor`: its entry `rows[i]`, or i without `rows`, is of channel `places[i]`.
    `gradient` has the tensor's shape, and is there where the criterion looks at gradients and the loss has one.
    """

    role: Role
    places: np.ndarray
    tensor: np.ndarray
    axis: int = 0
    rows: np.ndarray | None = None
    gradient: np.ndarray | None = None
    name: str = ""

    @property
    def values(self) -> np.ndarray:
        """Rows x elements: what is stored for the channels of the group."""
        return self.layer if self.rows is None else self.layer[self.rows]

    @property
    def layer(self) -> np.ndarray:
        """Rows x elements of the whole tensor, with the rows of channels that are not of the group."""
        return np.moveaxis(self.tensor, self.axis, 0).reshape(self.tensor.shape[self.axis], -1)

    @property
    def gradients(self) -> np.ndarray:
        """The gradients of `values`; zero where there is none."""
        if self.gradient is None:
            return np.zeros_like(self.values)
        return dataclasses.replace(self, tensor=self.gradient).values


@dataclass(frozen=True, eq=False)
class Group:
    """`size` channels that the layer `name`, and perhaps others, makes, and everything that goes with them.

    `observed` is samples x channels of one batch, for criteria that look at activations or gates. `seed` is
    the run's, and the number of the group.
    """

    size: int
    slices: tuple[Slices, ...] = ()
    observed: np.ndarray | None = None
    name: str = ""
    seed: tuple[int, int] = (0, 0)

    def sum(self, measure: Callable[[Slices], np.ndarray], *roles: Role) -> np.ndarray:
        """For each channel the sum of `measure` (slices in, one value a row out) over slices of these roles.

        Raises UnsupportedModel where the group has none.
        """
        total, found = np.zeros(self.size), False
        for slices in self.slices:
            if slices.role in roles:
                np.add.at(total, slices.places, measure(slices))
                found = True
        if not found:
            raise UnsupportedModel(
                f"The criterion needs {ROLES[roles[0]]}, which is not available.",
                where=f"layer {self.name}",
                hint="criterion=l2, or a rule that skips the layer",
            )
        return total

    def samples(self) -> np.ndarray:
        """What was observed: samples x channels."""
        assert self.observed is not None, "the stage observes what the criterion says it looks at"
        return self.observed
