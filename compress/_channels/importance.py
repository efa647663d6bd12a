"""How much each channel of a group matters: one function a criterion, a group in, one score a channel out.

A group holds channels that the same layers make. Where several do, as in a residual stage, a channel's score
adds up over all that it would take with it, so that it is judged by everything that is lost. A new criterion
is one function here: its decorator says what it looks at, its name is the option's value. A criterion that
looks at data is called with one batch at a time; its scores are averaged over all samples.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from edgepress.compress._channels.group import Evidence, Group, Slices

Score = Callable[[Group], np.ndarray]


@dataclass(frozen=True)
class Criterion:
    """`score` is the formula, `evidence` what it looks at."""

    score: Score
    evidence: Evidence

    @property
    def needs_data(self) -> bool:
        """Labels are never needed: without them the network's own answers take their place."""
        return self.evidence != "weights"


CRITERIA: dict[str, Criterion] = {}


def criterion(evidence: Evidence) -> Callable[[Score], Score]:
    """Put the function that follows on the list, under its name."""

    def listed(score: Score) -> Score:
        CRITERIA[score.__name__] = Criterion(score, evidence)
        return score

    return listed


@criterion("weights")
def l1(group: Group) -> np.ndarray:
    """The sum of absolute filter weights (Li et al., 2017, Pruning Filters for Efficient ConvNets)."""
    return group.sum(lambda slices: np.abs(slices.values).sum(1), "filter")


@criterion("weights")
def l2(group: Group) -> np.ndarray:
    """The Euclidean norm of the filters (He et al., 2018, Soft Filter Pruning)."""
    return np.asarray(np.sqrt(group.sum(lambda slices: _squares(slices.values), "filter")))


@criterion("weights")
def geometric_median(group: Group) -> np.ndarray:
    """The sum of a filter's distances to all filters of its layer: a filter amid the others can be replaced by
    them (He et al., 2019, FPGM). Sums of several layers are added."""
    return group.sum(_distances, "filter")


@criterion("weights")
def bn_scale(group: Group) -> np.ndarray:
    """The absolute batch-norm scale (Liu et al., 2017, Network Slimming)."""
    return group.sum(lambda slices: np.abs(slices.values).sum(1), "scale")


@criterion("gradients")
def taylor(group: Group) -> np.ndarray:
    """The squared first-order change of the batch's loss when all that makes the channel goes (Molchanov et
    al., 2019, Importance Estimation for Neural Network Pruning)."""

    def change(slices: Slices) -> np.ndarray:
        return np.asarray((slices.gradients * slices.values).sum(1))

    return np.asarray(np.square(group.sum(change, "filter", "scale", "shift")))


@criterion("gates")
def fisher(group: Group) -> np.ndarray:
    """The second-order change of the loss when a channel's gate closes: half the squared derivative by the gate,
    a mean over single samples.

    Optimal Brain Damage (LeCun et al., 1990) with the diagonal Fisher information in place of the Hessian
    (Theis et al., 2018), and one gate for all tied channels (Liu et al., 2021, Group Fisher Pruning).
    """
    return np.asarray(np.square(group.samples()).mean(0) / 2)


@criterion("activations")
def activation(group: Group) -> np.ndarray:
    """The mean absolute activation, as those who read the channel see it (Molchanov et al., 2017, Pruning
    Convolutional Neural Networks for Resource Efficient Inference). Hu et al.'s (2016) share of zeros would
    say nothing without a ReLU."""
    return np.asarray(group.samples().mean(0))


@criterion("weights")
def random(group: Group) -> np.ndarray:
    """Chance, from 0 to 1: the control that every other criterion has to beat."""
    return np.asarray(np.random.default_rng(group.seed).random(group.size))


if TYPE_CHECKING:
    CriterionName = str
else:
    CriterionName = Literal[tuple(CRITERIA)]
"""The names on the list, as the type of an option."""


def _squares(rows: np.ndarray) -> np.ndarray:
    return np.asarray(np.square(rows).sum(1))


def _distances(slices: Slices) -> np.ndarray:
    """Of each row the sum of its Euclidean distances to all rows of the layer."""
    values, layer = slices.values.astype(np.float64), slices.layer.astype(np.float64)
    squared = _squares(values)[:, None] + _squares(layer) - 2 * values @ layer.T
    return np.asarray(np.sqrt(np.maximum(squared, 0)).sum(1))
