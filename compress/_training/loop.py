"""The one training loop: every stage that trains is a TrainingStage and brings its own loss."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Gt, Le, Lt

from edgepress import graph
from edgepress.compress._sharing.keep import KeepShared, shared_weights
from edgepress.compress._sparse.zeros import KeepZeros, sparse_weights
from edgepress.compress._training.augment import augment
from edgepress.compress._training.checkpoint import Checkpoint
from edgepress.compress._training.classification import check_scores, first_output
from edgepress.compress._training.hook import Hooks, TrainingHook
from edgepress.compress._training.processes import Processes, current
from edgepress.compress._training.state import Epoch, Training
from edgepress.data import Batch, Split
from edgepress.errors import BadInput, BadOption
from edgepress.history import Value
from edgepress.program import Program
from edgepress.stage import Context, Outcome, Stage
from edgepress.trainable import Trainable

Tensors = tuple[torch.Tensor, ...]
Loss = Callable[[Tensors, torch.Tensor, torch.Tensor | None], torch.Tensor]
"""(inputs, logits (N, classes), labels (N,) or None) to a scalar."""


@dataclass(frozen=True, kw_only=True)
class TrainingStage(Stage):
    """The options that every training stage has.

    The learning rate rises linearly over the first `warmup` of all steps and falls to zero as a cosine.
    `holdout` of the training samples are kept out of training and decide which epoch was the best:
    its weights are the result, and `patience` epochs without a better one end the training (0: never).
    `average` above 0 is the decay of an exponential moving average of the weights.
    """

    epochs: Annotated[int, Ge(1)] = 5
    learning_rate: Annotated[float, Gt(0), Le(1000)] = 0.02
    optimizer: Literal["sgd", "adamw"] = "sgd"
    momentum: Annotated[float, Ge(0), Lt(1)] = 0.9
    weight_decay: Annotated[float, Ge(0)] = 5e-4
    batch_size: Annotated[int, Ge(2)] = 64
    warmup: Annotated[float, Ge(0), Lt(1)] = 0.15
    holdout: Annotated[float, Ge(0), Lt(1)] = 0.05
    patience: Annotated[int, Ge(0)] = 0
    average: Annotated[float, Ge(0), Lt(1)] = 0.0
    random_crop: Annotated[int, Ge(0)] = 0
    flip: bool = False
    precision: Literal["float32", "bfloat16"] = "float32"

    def needs(self) -> frozenset[Split]:
        return frozenset({"train"})

    def check(self, program: Program) -> None:
        """Raise BadOption for patience that no held-out sample could ever try."""
        if self.patience and not self.holdout:
            raise BadOption(
                "patience needs held-out samples to evaluate each epoch on.",
                where=f"{self.name()} patience={self.patience}, holdout=0",
                hint="holdout=0.05, or patience=0",
            )


def train(
    program: Program,
    options: TrainingStage,
    context: Context,
    loss: Loss,
    hook: TrainingHook = TrainingHook(),
) -> Outcome:
    """Train the program's weights to a smaller `loss`; the outcome holds the best epoch's weights.

    Weights that an earlier stage pruned stay zero and those that share values go on sharing them, unless `hook`
    chooses their zeros itself.
    Raises BadInput when there is nothing to train on, BadOption when the loss stops being finite.
    """
    module = program.module()
    results = train_module(module, program, options, context, loss, hook)
    return Outcome(program.replace(module), results)


def train_module(
    module: Trainable,
    program: Program,
    options: TrainingStage,
    context: Context,
    loss: Loss,
    hook: TrainingHook,
) -> dict[str, Value]:
    """Train `module`, a form of the program that a method has made, in place; as `train` does. Returns the results."""
    processes = current()
    torch.manual_seed(context.seed + processes.rank)
    graph.place(module.graph_module, processes.device)
    has_state = type(hook) is not TrainingHook
    keep_zeros = KeepZeros(sparse_weights(program.history) - hook.prunes)
    keep_shared = KeepShared(shared_weights(program.history).keys() - hook.prunes)
    hook = Hooks((hook, keep_zeros, keep_shared))
    loop = _Loop(program, options, context, loss, hook, processes)
    hook.begin(module, loop.steps)
    training = Training(module, options, loop.steps, processes)
    path = None if has_state or processes.rank else context.checkpoint
    checkpoint = Checkpoint(path, "/".join((*program.history.names(), options.name())))
    training.restore(processes.from_first(checkpoint.load()))
    forward = processes.forward(module)
    while training.goes_on():
        number = training.number + 1
        training_loss = loop.epoch(number, forward, training)
        candidate = training.averaged.module
        hook.after_epoch(candidate, number)
        training.finish(Epoch(number, training_loss, *loop.validate(candidate)), may_end=hook.may_end())
        checkpoint.save(training.state())
    best = training.best
    assert best is not None, "a hook lets the training end after the last step at the latest"
    loop.check_finite(best.loss or 0.0, best.number, loop.steps_per_epoch)
    module.load_state_dict(training.best_weights)
    graph.place(module.graph_module, torch.device("cpu"))
    results: dict[str, Value] = {
        "epochs": training.number,
        "best_epoch": best.number,
        "training_loss": best.training_loss,
    }
    if loop.held_out:
        results |= {"holdout_loss": best.loss, "holdout_accuracy": best.accuracy}
    if processes.count > 1:
        results["processes"] = processes.count
    return results


class _Loop:
    """The passes over the data that `train` makes."""

    def __init__(
        self,
        program: Program,
        options: TrainingStage,
        context: Context,
        loss: Loss,
        hook: TrainingHook,
        processes: Processes,
    ) -> None:
        self.preprocess, self.processes = program.preprocess, processes
        self.options, self.context, self.loss, self.hook = options, context, loss, hook
        self.data = context.required_data()
        count = self.data.count("train")
        self.held_out = int(count * options.holdout)
        self.steps_per_epoch = math.ceil((count - self.held_out) / options.batch_size)
        self.steps = self.steps_per_epoch * options.epochs
        if count - self.held_out < 2:
            raise BadInput(
                f"There are only {count} samples to train on.",
                where=self.data.name,
                hint="more data, or a smaller holdout",
            )

    def epoch(self, number: int, forward: torch.nn.Module, training: Training) -> float:
        """One pass over the training samples; the mean loss. `forward` is what to call in place of the module."""
        module = training.module
        forward.train()
        generator = torch.Generator().manual_seed(self.context.seed + number)
        total, samples = 0.0, 0.0
        for done, batch in enumerate(self._training_batches(number), 1):
            inputs, labels = _tensors(batch)
            inputs = augment(inputs, generator, random_crop=self.options.random_crop, flip=self.options.flip)
            inputs, labels = self._shared(inputs, labels)
            value = self._forward(forward, inputs, labels)
            share = len(inputs[0])
            total, samples = total + value.item() * share, samples + share
            value = self.processes.part_of_mean(value, share, len(batch))
            penalty = self.hook.penalty(module)
            if penalty is not None:
                value, total = value + penalty, total + penalty.item() * share
            training.optimizer.zero_grad(set_to_none=True)
            self.processes.backward(value)
            step = (number - 1) * self.steps_per_epoch + done
            self.hook.before_step(module, step)
            training.optimizer.step()
            training.schedule.step()
            self.hook.after_step(module, step)
            training.averaged.update()
            self.check_finite(total, number, done)
            task = f"{self.options.name()}: epoch {number} of {self.options.epochs}"
            self.context.progress(task, step, self.steps)
        self.processes.agree(module)
        total, samples = self.processes.total((total, samples))
        return total / samples

    def validate(self, module: Trainable) -> tuple[float | None, float | None]:
        """Mean loss and accuracy in percent on the held-out samples; None where there is nothing to tell."""
        if not self.held_out:
            return None, None
        module.eval()
        total, correct, labelled = 0.0, 0.0, 0.0
        with torch.no_grad():
            for batch in self.data.batches("train", self.preprocess, batch_size=128, limit=self.held_out):
                inputs, labels = self._shared(*_tensors(batch))
                if not len(inputs[0]):
                    continue
                logits = self._checked(first_output(module(*inputs)), labels)
                total += self.loss(inputs, logits, labels).item() * len(logits)
                if labels is not None:
                    correct += int((logits.argmax(1) == labels).sum())
                    labelled += labels.numel()
        total, correct, labelled = self.processes.total((total, correct, labelled))
        return total / self.held_out, 100 * correct / labelled if labelled else None

    def _shared(self, inputs: Tensors, labels: torch.Tensor | None) -> tuple[Tensors, torch.Tensor | None]:
        """This process's part of a batch."""
        share = self.processes.share
        return tuple(share(tensor) for tensor in inputs), None if labels is None else share(labels)

    def _forward(self, module: torch.nn.Module, inputs: Tensors, labels: torch.Tensor | None) -> torch.Tensor:
        device = inputs[0].device.type
        with torch.autocast(device, torch.bfloat16, enabled=self.options.precision == "bfloat16"):
            logits = self._checked(first_output(module(*inputs)), labels)
        return self.loss(inputs, logits.float(), labels)

    def _checked(self, logits: torch.Tensor, labels: torch.Tensor | None) -> torch.Tensor:
        if labels is not None:
            check_scores(logits, labels, self.data.name)
        return logits

    def _training_batches(self, number: int) -> Iterator[Batch]:
        batches = self.data.batches(
            "train",
            self.preprocess,
            batch_size=self.options.batch_size,
            skip=self.held_out,
            shuffle_seed=self.context.seed + number,
        )
        # Batch-norm cannot learn from a single sample.
        return (batch for batch in batches if len(batch) >= 2 * self.processes.count)

    def check_finite(self, total: float, number: int, step: int) -> None:
        if not math.isfinite(total):
            raise BadOption(
                "The training diverged: its loss is not finite.",
                where=f"{self.options.name()}, epoch {number}, step {step}",
                hint=f"a learning_rate below {self.options.learning_rate}",
            )


def _tensors(batch: Batch) -> tuple[Tensors, torch.Tensor | None]:
    inputs = tuple(_channels_last(torch.from_numpy(array)) for array in batch.inputs)
    return inputs, None if batch.labels is None else torch.from_numpy(batch.labels)


def _channels_last(tensor: torch.Tensor) -> torch.Tensor:
    """Pictures with the channels innermost in memory: convolutions on a CPU train faster so."""
    return tensor.contiguous(memory_format=torch.channels_last) if tensor.ndim == 4 else tensor
