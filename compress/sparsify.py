"""Train with a penalty on whole channels, so that those that matter least are close to zero when pruning removes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge

from edgepress.compress._channels.penalty import ChannelPenalty, PenaltyName, acts_on
from edgepress.compress._channels.plan import check_prunable
from edgepress.compress._channels.structure import Structure, bundles_of_classes, read_structure
from edgepress.compress._training.loop import train
from edgepress.compress.distill import Distill
from edgepress.errors import UnsupportedModel
from edgepress.program import Program
from edgepress.stage import Context, Outcome


@dataclass(frozen=True, kw_only=True)
class Sparsify(Distill):
    """Sparsity training: what comes before channel pruning, to make it cost less. No channel is removed yet.

    All options of distill, which keeps the network's answers meanwhile, and

    penalty: group_lasso, the norms of all that makes a channel in all layers that would lose it together (Wen et
        al., 2016, Learning Structured Sparsity in Deep Neural Networks; prune with criterion=l2 then), or bn_scale,
        the sum of absolute batch-norm scales (Liu et al., 2017, Network Slimming; criterion=bn_scale).
    strength: what the penalty is multiplied by in the loss.

    Only channels that pruning could remove are penalised. Rules can set the strength for single layers; one with
    `skip` leaves a layer alone. The results count the channels below 1 % of the largest of those made together.
    """

    shorthand = "strength"
    per_layer = frozenset({"strength"})

    penalty: PenaltyName = "group_lasso"
    strength: Annotated[float, Ge(0)] = 1e-3

    def check(self, program: Program) -> None:
        """Raise UnsupportedModel when no channel can be removed, or none has what the penalty acts on."""
        super().check(program)
        structure = read_structure(program)
        check_prunable(structure)
        if not acts_on(structure, self.penalty):
            raise UnsupportedModel(
                "No layer whose channels can be pruned has a batch-norm with a scale.",
                where=f"{self.name()} penalty={self.penalty}",
                hint="penalty=group_lasso",
            )

    def apply(self, program: Program, context: Context) -> Outcome:
        structure = read_structure(program)
        penalty = ChannelPenalty(structure, self.penalty, self._strengths(structure, context))
        trained = train(program, self, context, self.loss(program, context), penalty)
        counts = {
            "channels": sum(len(bundle) for bundle in bundles_of_classes(structure)),
            "small_before": penalty.small(program.module()),
            "small": penalty.small(trained.program.module()),
        }
        return Outcome(trained.program, {**trained.results, **counts})

    def _strengths(self, structure: Structure, context: Context) -> np.ndarray:
        """The strength for each class: the least that the layers that make it together have, 0 where it must stay."""
        strengths = np.zeros(structure.labelling.count)
        for bundle in bundles_of_classes(structure):
            makers = structure.makers_of(bundle[0])
            rules = [context.rules.apply(self, layer.name, layer.type) for layer in makers]
            strengths[bundle] = min(options.strength if options else 0.0 for options in rules)
        return strengths
