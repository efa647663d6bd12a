"""A penalty on whole channels, added to the loss of a training, that drives those that matter least towards zero."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from edgepress.compress._channels.group import Role
from edgepress.compress._channels.scores import bound_once
from edgepress.compress._channels.structure import Structure, bundles_of_classes
from edgepress.compress._training.hook import TrainingHook
from edgepress.trainable import Trainable

PenaltyName = Literal["bn_scale", "group_lasso"]

PENALISED: Mapping[PenaltyName, tuple[Role, ...]] = {
    "bn_scale": ("scale",),
    "group_lasso": ("filter", "scale", "shift"),
}
"""What of a channel counts. Filters alone would shrink to no effect where a batch-norm undoes it."""

SMALL = 0.01
"""A channel below this share of the largest of its bundle is as good as gone."""

TINY = 1e-12
"""Keeps the gradient of a root finite at zero."""


@dataclass(frozen=True, eq=False)
class _Tensor:
    """The axis of a parameter along which channels lie, and the class of each entry."""

    name: str
    axis: int
    classes: torch.Tensor


def acts_on(structure: Structure, kind: PenaltyName) -> bool:
    """Whether the penalty has anything to act on among the channels that can be removed."""
    removable = np.concatenate(bundles_of_classes(structure))
    return any(np.isin(tensor.classes, removable).any() for tensor in _tensors(structure, kind))


class ChannelPenalty(TrainingHook):
    """The sum over all removable channels of strength x magnitude; `strengths` has one number a class.

    bn_scale: a channel's magnitude is the sum of its absolute batch-norm scales. group_lasso: the Euclidean norm of
    all that makes it, in all layers that are tied, times the square root of how many numbers that is.
    """

    def __init__(self, structure: Structure, kind: PenaltyName, strengths: np.ndarray) -> None:
        self._kind, self._bundles = kind, bundles_of_classes(structure)
        self._tensors = _tensors(structure, kind)
        self._strengths = torch.from_numpy(strengths).float()
        parameters = structure.labelling.graph_module.named_parameters()
        self._steps, self._is_done = 0, False
        self._sizes = self._sums({name: torch.ones_like(value) for name, value in parameters})

    def begin(self, module: Trainable, steps: int) -> None:
        self._steps = steps

    def after_step(self, module: Trainable, step: int) -> None:
        self._is_done = step >= self._steps

    def may_end(self) -> bool:
        """Only at the end: an earlier epoch would be more accurate, because fewer of its channels are small."""
        return self._is_done

    def penalty(self, module: Trainable) -> torch.Tensor:
        return self._strengths @ self.magnitudes(module)

    def magnitudes(self, module: Trainable) -> torch.Tensor:
        """The magnitude of each class; 0 where nothing of it counts."""
        parameters = dict(module.named_parameters())
        if self._kind == "bn_scale":
            return self._sums({name: value.abs() for name, value in parameters.items()})
        squares = self._sums({name: value.square() for name, value in parameters.items()})
        return (self._sizes * (squares + TINY)).sqrt()

    def small(self, module: Trainable) -> int:
        """How many channels are below SMALL of the largest of their bundle."""
        magnitudes = self.magnitudes(module).detach()
        found = [magnitudes[torch.from_numpy(bundle)] for bundle in self._bundles]
        return sum(int((one < SMALL * one.max()).sum()) for one in found)

    def _sums(self, values: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """For each class the sum of what belongs to it."""
        total = torch.zeros(len(self._strengths))
        for tensor in self._tensors:
            rows = values[tensor.name].movedim(tensor.axis, 0).reshape(len(tensor.classes), -1)
            total = total.index_add(0, tensor.classes, rows.sum(1))
        return total


def _tensors(structure: Structure, kind: PenaltyName) -> list[_Tensor]:
    """The parameters that the penalty acts on."""
    parameters = {name for name, _ in structure.labelling.graph_module.named_parameters()}
    return [
        _Tensor(binding.name, binding.axis, torch.from_numpy(structure.labelling.classes[binding.labels]))
        for binding, role in bound_once(structure.labelling)
        if role in PENALISED[kind] and binding.name in parameters
    ]
