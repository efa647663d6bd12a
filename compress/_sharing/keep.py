"""Keeps shared weights shared through any training that follows: their values are their own codebook."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import torch

from edgepress.compress._sparse.zeros import parameters
from edgepress.compress._training.hook import TrainingHook
from edgepress.history import History, Value
from edgepress.program import Program
from edgepress.trainable import Trainable

SHARED = "shared"
"""The result of a stage that says which weights take few values: a mapping from their dotted names, in which
`values` is how many, zero left out."""


@dataclass(frozen=True)
class _Tie:
    """Which weights are one: `cluster` has the number of each, in the flattened weight, `first` a member of each,
    `size` how many there are; `zero` marks the cluster of zeros."""

    cluster: torch.Tensor
    first: torch.Tensor
    size: torch.Tensor
    zero: torch.Tensor

    @classmethod
    def of(cls, weight: torch.Tensor) -> _Tie:
        values, cluster, size = weight.detach().flatten().unique(return_inverse=True, return_counts=True)
        first = torch.empty_like(size)
        first[cluster] = torch.arange(len(cluster))
        return cls(cluster, first, size, values == 0)


class KeepShared(TrainingHook):
    """Weights that are equal when the training begins stay equal, and zeros stay zero.

    The gradient of a shared value is the sum over its weights (Han et al., 2016, Deep Compression). The step is that sum
    over their number, the projection of the weights' own step on what sharing allows: so the learning rates of
    ordinary training are right, for a value of five weights and for one of five thousand.
    """

    def __init__(self, names: Collection[str]) -> None:
        self._names = names
        self._ties: dict[str, _Tie] = {}

    def begin(self, module: Trainable, steps: int) -> None:
        stored = parameters(module)
        self._ties = {name: _Tie.of(stored[name]) for name in self._names if name in stored}

    def before_step(self, module: Trainable, step: int) -> None:
        stored = parameters(module)
        for name, tie in self._ties.items():
            gradient = stored[name].grad
            if gradient is not None:
                total = torch.zeros(len(tie.size)).index_add_(0, tie.cluster, gradient.flatten())
                mean = (total / tie.size).masked_fill_(tie.zero, 0.0)
                gradient.copy_(mean[tie.cluster].view_as(gradient))

    def after_step(self, module: Trainable, step: int) -> None:
        self._retie(module)

    def after_epoch(self, module: Trainable, epoch: int) -> None:
        self._retie(module)

    @torch.no_grad()
    def _retie(self, module: Trainable) -> None:
        """Equal steps from equal values differ in their last bit where vector instructions end."""
        stored = parameters(module)
        for name, tie in self._ties.items():
            weight = stored[name]
            values = weight.flatten()[tie.first].masked_fill_(tie.zero, 0.0)
            weight.copy_(values[tie.cluster].view_as(weight))


def shared_weights(history: History) -> dict[str, Mapping[str, Value]]:
    """The dotted names of the weights that the stages so far have made to share values, and what they said of each."""
    found: dict[str, Mapping[str, Value]] = {}
    for step in history.steps:
        weights = step.results.get(SHARED)
        for name, facts in weights.items() if isinstance(weights, Mapping) else ():
            if isinstance(facts, Mapping) and isinstance(facts.get("values"), int):
                found[name] = facts
    return found


def still_shared(program: Program, history: History) -> frozenset[str]:
    """Those that still are parameters of so few values: not what was refitted, folded into or quantized since."""
    stored = dict(program.exported.named_parameters())
    return frozenset(
        name
        for name, facts in shared_weights(history).items()
        if name in stored and int(torch.count_nonzero(stored[name].detach().unique())) <= _values(facts)
    )


def _values(facts: Mapping[str, Value]) -> int:
    count = facts["values"]
    assert isinstance(count, int), "shared_weights takes no other"
    return count
