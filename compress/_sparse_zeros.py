"""Keeps the zeros of pruned weights exactly zero through any training that follows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch

from edgepress.compress._training_hook import TrainingHook
from edgepress.history import History
from edgepress.trainable import Trainable

SPARSE = "sparse"
"""The result of a pruning stage that says which layers it made sparse: {layer: {"weight": dotted name, ...}}."""


class KeepZeros(TrainingHook):
    """What is zero when the training begins, in the weights that the history calls sparse, stays zero.

    The zeros themselves are the mask, so nothing else has to be saved with the network, and what a stage in
    between cut away is forgotten.
    """

    def __init__(self, history: History) -> None:
        self._names = sparse_weights(history)
        self._zeros: dict[str, torch.Tensor] = {}

    def begin(self, module: Trainable, steps: int) -> None:
        self._zeros = {
            name: parameter.detach() == 0
            for name, parameter in module.named_parameters()
            if name in self._names
        }

    def after_step(self, module: Trainable, step: int) -> None:
        set_zero(module, self._zeros)


def sparse_weights(history: History) -> frozenset[str]:
    """The dotted names of the weights that the stages so far have made sparse."""
    return frozenset(name for step in history.steps for name in _weights(step.results.get(SPARSE)))


@torch.no_grad()
def set_zero(module: Trainable, zeros: Mapping[str, torch.Tensor]) -> None:
    """Make the parameters zero where the mask of their name is true: plain zeros, never negative ones."""
    parameters = dict(module.named_parameters())
    for name, zero in zeros.items():
        parameters[name].masked_fill_(zero, 0.0)


def _weights(layers: object) -> Iterator[str]:
    """Histories come from files too, and other stages may give the word another meaning."""
    for layer in layers.values() if isinstance(layers, Mapping) else ():
        if isinstance(layer, Mapping) and isinstance(layer.get("weight"), str):
            yield layer["weight"]
