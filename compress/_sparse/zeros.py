"""Keeps the zeros of pruned weights exactly zero through any training that follows."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch

from edgepress.compress._training.hook import TrainingHook
from edgepress.history import History
from edgepress.trainable import Trainable

SPARSE = "sparse"
"""The result of a pruning stage that says which weights it made sparse: a mapping from their dotted names."""


class KeepZeros(TrainingHook):
    """What is zero in these weights when the training begins stays zero.

    The zeros themselves are the mask, so nothing else has to be saved with the network, and what a stage in
    between cut away is forgotten.
    """

    def __init__(self, names: Collection[str]) -> None:
        self._names = names
        self._zeros: dict[str, torch.Tensor] = {}

    def begin(self, module: Trainable, steps: int) -> None:
        self._zeros = {
            name: parameter.detach() == 0
            for name, parameter in parameters(module).items()
            if name in self._names
        }

    def after_step(self, module: Trainable, step: int) -> None:
        set_zero(module, self._zeros)


def sparse_weights(history: History) -> frozenset[str]:
    """The dotted names of the weights that the stages so far have made sparse."""
    made = (step.results.get(SPARSE) for step in history.steps)
    return frozenset(name for weights in made if isinstance(weights, Mapping) for name in weights)


@torch.no_grad()
def set_zero(module: torch.nn.Module, zeros: Mapping[str, torch.Tensor]) -> None:
    """Make the parameters zero where the mask of their name is true: plain zeros, never negative ones."""
    stored = parameters(module)
    for name, zero in zeros.items():
        stored[name].masked_fill_(zero, 0.0)


def parameters(module: torch.nn.Module) -> dict[str, torch.nn.Parameter]:
    """All parameters, a shared one under each of its names."""
    return dict(module.named_parameters(remove_duplicate=False))
