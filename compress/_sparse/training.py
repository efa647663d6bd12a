"""Zeros that change while a network trains: ever more of them (cubic), or always as many in other places (regrow)."""

from __future__ import annotations

import math

import torch

from edgepress.compress._sparse.pattern import Block
from edgepress.compress._sparse.plan import SparsityPlan, Target, magnitudes
from edgepress.compress._sparse.zeros import parameters, set_zero
from edgepress.compress._training.hook import TrainingHook
from edgepress.trainable import Trainable


def cubic(progress: float, initial: float, final: float) -> float:
    """The sparsity after the share `progress` of the schedule (Zhu and Gupta, 2017, To Prune, or Not to Prune):
    it grows fast at first, while much can go, and slowly towards the end."""
    return final + (initial - final) * (1 - progress) ** 3


def cosine(progress: float, initial: float) -> float:
    """The share that moves after the share `progress` of the schedule (Evci et al., 2020, Rigging the Lottery)."""
    return initial / 2 * (1 + math.cos(math.pi * progress))


class _ChangingZeros(TrainingHook):
    """Keeps zeros that change at `updates` steps, evenly over the first share `until` of all."""

    def __init__(self, plan: SparsityPlan, until: float, updates: int) -> None:
        self.prunes = frozenset(target.layer.weight for target in plan.targets())
        self._plan, self._until, self._updates = plan, until, updates
        self._zeros: dict[str, torch.Tensor] = {}
        self._last = 1

    def begin(self, module: Trainable, steps: int) -> None:
        self._last = max(1, int(self._until * steps))

    def after_step(self, module: Trainable, step: int) -> None:
        set_zero(module, self._zeros)

    def after_epoch(self, module: Trainable, epoch: int) -> None:
        set_zero(module, self._zeros)

    def _is_due(self, step: int) -> bool:
        """Whether this is a step of an update; the last of them is the schedule's last step."""
        updates = min(self._updates, self._last)
        return step <= self._last and step * updates // self._last > (step - 1) * updates // self._last


class GrowingSparsity(_ChangingZeros):
    """The least weights become zero, and with every update more of them, from what is zero already."""

    def __init__(self, plan: SparsityPlan, until: float, updates: int) -> None:
        super().__init__(plan, until, updates)
        self._initial: tuple[float, ...] = ()
        self._is_done = False

    def begin(self, module: Trainable, steps: int) -> None:
        super().begin(module, steps)
        weights = magnitudes(module)
        self._initial = tuple(
            min(_share_of_zeros([weights[name] for name in group.names()]), group.sparsity)
            for group in self._plan.groups
        )

    def after_step(self, module: Trainable, step: int) -> None:
        if self._is_due(step):
            weights = magnitudes(module)
            for group, initial in zip(self._plan.groups, self._initial, strict=True):
                self._zeros |= group.zeros(weights, cubic(step / self._last, initial, group.sparsity))
        self._is_done = step >= self._last
        super().after_step(module, step)

    def may_end(self) -> bool:
        return self._is_done


class MovingZeros(_ChangingZeros):
    """The least weights are zero from the start. With every update, of each layer a share of the least of those
    that are left become zero, and as many zeros, those with the largest gradients, are free again."""

    def __init__(self, plan: SparsityPlan, until: float, updates: int, share: float) -> None:
        super().__init__(plan, until, updates)
        self._share = share

    def begin(self, module: Trainable, steps: int) -> None:
        super().begin(module, steps)
        self._zeros = self._plan.zeros(magnitudes(module))
        set_zero(module, self._zeros)

    def before_step(self, module: Trainable, step: int) -> None:
        """Before it, so that what is freed gets its first value in this step. What stays zero takes no part in it:
        the optimizer shall have no momentum for a weight that is freed later."""
        stored = parameters(module)
        for target in self._plan.targets():
            weight, zero = stored[target.layer.weight], self._zeros[target.layer.weight]
            if weight.grad is None:
                continue
            if self._is_due(step):
                share = cosine(step / self._last, self._share)
                zero = moved(target, zero, weight.detach().abs(), weight.grad.abs(), share)
                self._zeros[target.layer.weight] = zero
            weight.grad.masked_fill_(zero, 0.0)


def moved(
    target: Target, zero: torch.Tensor, weight: torch.Tensor, gradient: torch.Tensor, share: float
) -> torch.Tensor:
    """As many zeros as in `zero` in other places, all in the weight's shape; `weight` and `gradient` are magnitudes."""
    block, layer = target.pattern, target.layer
    assert isinstance(block, Block), "the stage refuses to move zeros that are N of M"
    units = layer.rows(zero)[:: block.outputs, :: block.inputs]
    count = min(round(share * int((~units).sum())), int(units.sum()))
    size = block.unit_scores(layer.rows(weight)).masked_fill(units, torch.inf)
    dropped = _marked(units, size.flatten().topk(count, largest=False).indices)
    free = units | dropped
    slope = block.unit_scores(layer.rows(gradient)).masked_fill(~free, -1.0)
    grown = _marked(units, slope.flatten().topk(count).indices)
    return layer.from_rows(block.expand(free & ~grown), zero.shape)


def _share_of_zeros(tensors: list[torch.Tensor]) -> float:
    zeros = sum(int((tensor == 0).sum()) for tensor in tensors)
    return zeros / sum(tensor.numel() for tensor in tensors)


def _marked(units: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """True at these places of the flattened units."""
    return torch.zeros(units.numel(), dtype=torch.bool).index_fill_(0, places, True).view_as(units)
