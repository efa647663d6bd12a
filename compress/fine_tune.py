"""Train all weights on labelled data: what recovers the accuracy that a compression step cost."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from edgepress.compress._training.classification import cross_entropy
from edgepress.compress._training.loop import Loss, Tensors, TrainingStage, train
from edgepress.errors import BadInput
from edgepress.program import Program
from edgepress.stage import Context, Outcome


@dataclass(frozen=True, kw_only=True)
class FineTune(TrainingStage):
    """Supervised training with cross-entropy on the network's first output: a class for each sample, or for each pixel."""

    shorthand = "epochs"
    needs_labels = True

    def apply(self, program: Program, context: Context) -> Outcome:
        return train(program, self, context, supervised(context))


def supervised(context: Context) -> Loss:
    """Cross-entropy with the labels; the loss raises BadInput for a batch that has none."""

    def loss(inputs: Tensors, logits: torch.Tensor, labels: torch.Tensor | None) -> torch.Tensor:
        if labels is None:
            raise BadInput(
                "Some batches have no labels.",
                where=context.required_data().name,
                hint="label them, or distill, which needs no labels",
            )
        return cross_entropy(logits, labels)

    return loss
