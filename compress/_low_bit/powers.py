"""Weights that become powers of two part by part, while those that are still free make up for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch.fx import GraphModule, Node

from edgepress.compress._low_bit.form import WeightForm
from edgepress.compress._quantization.ranges import SMALLEST_SCALE
from edgepress.compress._quantization.weights import QuantizedWeight, beside
from edgepress.compress._sparse.zeros import parameters
from edgepress.compress._training.hook import TrainingHook
from edgepress.trainable import Trainable

MOST_POWERS = 7
"""1 to 64 times a channel's smallest: what int8 holds on both sides of zero."""


@dataclass(frozen=True)
class PowersOfTwo(WeightForm):
    """Zhou et al. (2017), Incremental Network Quantization: zero, and 2**(bits - 2) powers of two of either sign.

    `smallest` (N) is the least of them in each channel; it follows from the largest weight, section 2.1.
    """

    powers: int
    smallest: torch.Tensor

    @classmethod
    def of(cls, weight: torch.Tensor, bits: int) -> PowersOfTwo:
        powers = min(1 << (bits - 2), MOST_POWERS)
        largest = weight.detach().flatten(1).abs().amax(1).clamp(min=SMALLEST_SCALE)
        highest = (largest * 4 / 3).log2().floor()
        return cls(powers, torch.exp2(highest - (powers - 1)))

    def insert(self, graph_module: GraphModule, weight: Node, holder: str) -> Node:
        """The weight itself: those that are powers of two already are held there by IncrementalPowers."""
        return weight

    def integers(self, module: torch.nn.Module, weight: torch.Tensor, holder: str) -> QuantizedWeight:
        limit = 1 << (self.powers - 1)
        return QuantizedWeight(self._nearest(weight).to(torch.int8), self.smallest.float(), limit)

    def nearest(self, weight: torch.Tensor) -> torch.Tensor:
        """The power of two, or the zero, that each weight becomes: from 3/4 of one to 3/2 of it (equation 3)."""
        return self._nearest(weight) * beside(self.smallest.to(weight.device), weight)

    def _nearest(self, weight: torch.Tensor) -> torch.Tensor:
        size = weight.detach().abs() / beside(self.smallest.to(weight.device), weight)
        exponent = (size.clamp(min=0.5) * 4 / 3).log2().floor().clamp(0, self.powers - 1)
        return weight.detach().sign() * torch.exp2(exponent) * (size >= 0.5)


class IncrementalPowers(TrainingHook):
    """Makes the largest of each weight's values powers of two, and holds these: after `portions` of all steps, spread
    evenly, the share that the portion says, from before the first step on."""

    def __init__(self, forms: Mapping[str, PowersOfTwo], portions: Sequence[float]) -> None:
        """`forms` by the weights' dotted names; `portions` ascend to 1."""
        self.prunes = frozenset(forms)
        self._forms, self._portions = forms, tuple(portions)
        self._steps, self._done = 1, 0
        self._held: dict[str, torch.Tensor] = {}
        self._values: dict[str, torch.Tensor] = {}

    def begin(self, module: Trainable, steps: int) -> None:
        self._steps = steps
        stored = parameters(module)
        # What was pruned is a power of two from the beginning: none at all.
        self._held = {name: stored[name].detach() == 0 for name in self._forms}
        self._values = {name: torch.zeros_like(stored[name]) for name in self._forms}
        self._advance(module, 0)

    def after_step(self, module: Trainable, step: int) -> None:
        self._advance(module, step)

    def after_epoch(self, module: Trainable, epoch: int) -> None:
        self._hold(module)

    def may_end(self) -> bool:
        return self._done == len(self._portions)

    def _advance(self, module: Trainable, step: int) -> None:
        stored = parameters(module)
        while self._done < len(self._portions) and step * len(self._portions) >= self._done * self._steps:
            share = self._portions[self._done]
            for name, form in self._forms.items():
                self._take(name, stored[name].detach(), form, share)
            self._done += 1
        self._hold(module)

    def _take(self, name: str, weight: torch.Tensor, form: PowersOfTwo, share: float) -> None:
        """Hold the largest of those that are free, up to this share of all."""
        held = self._held[name]
        count = round(share * held.numel()) - int(held.sum())
        if count > 0:
            chosen = weight.abs().masked_fill(held, -1.0).flatten().topk(count).indices
            new = torch.zeros(held.numel(), dtype=torch.bool).index_fill_(0, chosen, True).view_as(held)
            self._values[name] = torch.where(new, form.nearest(weight), self._values[name])
            self._held[name] = held | new

    @torch.no_grad()
    def _hold(self, module: Trainable) -> None:
        stored = parameters(module)
        for name, held in self._held.items():
            stored[name].copy_(torch.where(held, self._values[name], stored[name]))
