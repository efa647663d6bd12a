"""Train the network to give its teacher's answers (knowledge distillation)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge, Gt, Le
from torch.nn import functional

from edgepress import graph
from edgepress.compress._training.classification import cross_entropy
from edgepress.compress._training.loop import Loss, Tensors, TrainingStage, train
from edgepress.program import Program
from edgepress.stage import Context, Outcome


@dataclass(frozen=True, kw_only=True)
class Distill(TrainingStage):
    """Soft targets of Hinton, Vinyals and Dean (2015), Distilling the Knowledge in a Neural Network.

    The loss is `soft_share` of the divergence between student and teacher at `temperature`, and the
    rest cross-entropy with the labels; without labels, the divergence alone. `teacher` is `self` (the
    network before compression) or a MODEL as on the command line.
    """

    shorthand = "teacher"

    teacher: str = "self"
    temperature: Annotated[float, Gt(0)] = 4.0
    soft_share: Annotated[float, Ge(0), Le(1)] = 0.9

    def teachers(self) -> frozenset[str]:
        return frozenset() if self.teacher == "self" else frozenset({self.teacher})

    def apply(self, program: Program, context: Context) -> Outcome:
        return train(program, self, context, self.loss(program, context))

    def loss(self, program: Program, context: Context) -> Loss:
        """What a training of `program` is to make small."""
        teacher = context.original if self.teacher == "self" else context.load_model(self.teacher)
        answer = teacher.module()

        def loss(inputs: Tensors, logits: torch.Tensor, labels: torch.Tensor | None) -> torch.Tensor:
            graph.place(answer.graph_module, logits.device)
            with torch.no_grad():
                target = answer(*inputs)
            soft = divergence(
                logits, target if isinstance(target, torch.Tensor) else target[0], self.temperature
            )
            if labels is None:
                return soft
            return self.soft_share * soft + (1 - self.soft_share) * cross_entropy(logits, labels)

        return loss


def divergence(student: torch.Tensor, teacher: torch.Tensor, temperature: float) -> torch.Tensor:
    """The Kullback-Leibler divergence of softened logits (N, classes), times the temperature squared so
    that its gradient keeps its size."""
    return temperature**2 * functional.kl_div(
        functional.log_softmax(student / temperature, 1),
        functional.log_softmax(teacher / temperature, 1),
        reduction="batchmean",
        log_target=True,
    )
