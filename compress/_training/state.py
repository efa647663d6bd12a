"""What a training keeps from epoch to epoch, and what it goes on from after an interruption."""

from __future__ import annotations

import copy
import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from edgepress import graph
from edgepress.errors import UnsupportedModel
from edgepress.trainable import Trainable

if TYPE_CHECKING:
    from edgepress.compress._training.checkpoint import State
    from edgepress.compress._training.loop import TrainingStage
    from edgepress.compress._training.processes import Processes


@dataclass(frozen=True)
class Epoch:
    """`loss` on the held-out samples (None without any) and `accuracy` there in percent (None without labels)."""

    number: int
    training_loss: float
    loss: float | None
    accuracy: float | None

    def beats(self, other: Epoch | None) -> bool:
        """Without held-out samples, the later epoch; else the more accurate, and among equals the smaller loss."""
        return other is None or self.loss is None or self._rank(self.loss) > other._rank(other.loss)

    def _rank(self, loss: float | None) -> tuple[bool, float, float]:
        is_sound = loss is not None and math.isfinite(loss)
        return is_sound, self.accuracy or 0.0, -loss if is_sound and loss is not None else 0.0


class Training:
    """What changes from epoch to epoch: weights, optimizer, schedule, and the best epoch so far."""

    def __init__(self, module: Trainable, options: TrainingStage, steps: int, processes: Processes) -> None:
        self.module, self.options, self.processes = module, options, processes
        self.optimizer = _optimizer(module, options)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer, lambda step: _rate(step / steps, options)
        )
        self.averaged = Average(module, options.average)
        self.number = 0
        self.best: Epoch | None = None
        self.best_weights = module.state_dict()

    def goes_on(self) -> bool:
        """Whether there is an epoch left, and hope for a better one."""
        patience = self.options.patience
        hopeless = bool(patience) and self.best is not None and self.number - self.best.number >= patience
        return self.number < self.options.epochs and not hopeless

    def finish(self, epoch: Epoch, *, may_end: bool) -> None:
        self.number = epoch.number
        if may_end and epoch.beats(self.best):
            self.best, self.best_weights = epoch, copy.deepcopy(self.averaged.module.state_dict())

    def state(self) -> State:
        """The same in all processes, which have to ask for it together: each draws random numbers of its own."""
        return {
            **{name: part.state_dict() for name, part in self._parts().items()},
            "number": self.number,
            "best": self.best and dataclasses.astuple(self.best),
            "best_weights": self.best_weights,
            "random": self.processes.from_each(torch.get_rng_state()),
        }

    def restore(self, state: State | None) -> None:
        """Go on from what `state()` gave, if there is any. Processes beyond as many as there were then go on as they began."""
        if state is None:
            return
        for name, part in self._parts().items():
            part.load_state_dict(state[name])
        self.number = state["number"]
        self.best = state["best"] and Epoch(*state["best"])
        self.best_weights = state["best_weights"]
        if self.processes.rank < len(state["random"]):
            torch.set_rng_state(state["random"][self.processes.rank])

    def _parts(self) -> dict[str, Any]:
        parts = {"module": self.module, "optimizer": self.optimizer, "schedule": self.schedule}
        return parts | ({"averaged": self.averaged.module} if self.options.average else {})


class Average:
    """The exponential moving average of a module's weights; with decay 0, the module itself."""

    def __init__(self, module: Trainable, decay: float) -> None:
        self._source, self._decay = module, decay
        self.module = graph.copied(module) if decay else module

    @torch.no_grad()
    def update(self) -> None:
        if not self._decay:
            return
        current = self._source.state_dict()
        for name, value in self.module.state_dict().items():
            if value.is_floating_point():
                value.lerp_(current[name], 1 - self._decay)
            else:
                value.copy_(current[name])


def _optimizer(module: torch.nn.Module, options: TrainingStage) -> torch.optim.Optimizer:
    """Weight decay acts on weights of two or more axes, not on biases and batch-norm (He et al. 2019)."""
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    if not parameters:
        raise UnsupportedModel(
            "The network has no weights to train.",
            hint="a network with parameters that take gradients: nothing frozen or quantized",
        )
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": options.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if options.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=options.learning_rate)
    nesterov = options.momentum > 0
    return torch.optim.SGD(groups, lr=options.learning_rate, momentum=options.momentum, nesterov=nesterov)


def _rate(done: float, options: TrainingStage) -> float:
    """The factor on the learning rate after the share `done` of all steps."""
    if done < options.warmup:
        return max(done / options.warmup, 1e-3)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (done - options.warmup) / (1 - options.warmup))))
