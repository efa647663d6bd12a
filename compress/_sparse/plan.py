"""Which weights become zero: the layers, their patterns, and the least salient of those that share a threshold."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch

from edgepress.compress._sparse.layers import Layer
from edgepress.compress._sparse.pattern import Block, NofM, Pattern
from edgepress.compress._sparse.zeros import parameters


@dataclass(frozen=True)
class Target:
    """A layer that becomes sparse, and in which pattern (`text` as the user writes it). Ranked with others, it loses
    at most the share `max_ratio` of its weights."""

    layer: Layer
    pattern: Pattern
    text: str
    max_ratio: float


@dataclass(frozen=True)
class Group:
    """Layers pruned in blocks whose weights are ranked together, or a single one pruned N of M. The share `sparsity`
    of their weights becomes zero."""

    targets: tuple[Target, ...]
    sparsity: float

    def names(self) -> tuple[str, ...]:
        """The dotted names of the weights."""
        return tuple(target.layer.weight for target in self.targets)

    def zeros(self, saliencies: Mapping[str, torch.Tensor], sparsity: float) -> dict[str, torch.Tensor]:
        """For each weight, by name, true where it becomes zero, in the weight's own shape.

        `saliencies` are in the weights' shapes: how much each of them matters. The share `sparsity` of the weights
        becomes zero, rounded; where blocks of several go together, as many as fit in. Among equals the first go.
        """
        rows = [target.layer.rows(saliencies[target.layer.weight]) for target in self.targets]
        first = self.targets[0].pattern
        if isinstance(first, NofM):
            masks = [first.zeros(rows[0], sparsity)]
        else:
            masks = _least_salient(self.targets, rows, sparsity)
        return {
            target.layer.weight: target.layer.from_rows(mask, saliencies[target.layer.weight].shape)
            for target, mask in zip(self.targets, masks, strict=True)
        }


@dataclass(frozen=True)
class SparsityPlan:
    """The groups, and of every other layer why it stays dense."""

    groups: tuple[Group, ...]
    dense: Mapping[str, str]

    def targets(self) -> Iterator[Target]:
        return (target for group in self.groups for target in group.targets)

    def zeros(self, saliencies: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Those of all groups, at their sparsity."""
        return {
            name: mask
            for group in self.groups
            for name, mask in group.zeros(saliencies, group.sparsity).items()
        }


def magnitudes(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The absolute values of all parameters by their names."""
    return {name: parameter.detach().abs() for name, parameter in parameters(module).items()}


def _least_salient(
    targets: Sequence[Target], rows: Sequence[torch.Tensor], sparsity: float
) -> list[torch.Tensor]:
    """True for the blocks with the least mean saliency, those of all layers ranked together."""
    blocks = [target.pattern for target in targets if isinstance(target.pattern, Block)]
    scores = [block.unit_scores(saliency) for block, saliency in zip(blocks, rows, strict=True)]
    ranked = torch.cat(
        [
            _without_best(score.flatten(), target.max_ratio)
            for score, target in zip(scores, targets, strict=True)
        ]
    )
    counts = [score.numel() for score in scores]
    sizes = torch.tensor([block.unit_size for block in blocks]).repeat_interleave(torch.tensor(counts))
    order = ranked.argsort(stable=True)
    fits = (sizes[order].cumsum(0) <= round(sparsity * int(sizes.sum()))) & ranked[order].isfinite()
    lowest = torch.zeros_like(fits).scatter_(0, order, fits).split(counts)
    return [
        block.expand(part.view_as(score)) for block, part, score in zip(blocks, lowest, scores, strict=True)
    ]


def _without_best(scores: torch.Tensor, max_ratio: float) -> torch.Tensor:
    """The scores with infinity for those that the layer keeps in any case."""
    kept = len(scores) - math.floor(max_ratio * len(scores))
    return scores.index_fill(0, scores.topk(kept).indices, torch.inf)
