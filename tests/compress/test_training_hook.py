"""Hooks of the training loop: when each method is called, what it may change, and when a training may end."""

from __future__ import annotations

import dataclasses

import pytest
import tiny_networks
import torch
from torch.nn import functional

from edgepress import models
from edgepress.compress._training.hook import TrainingHook
from edgepress.compress._training.loop import train
from edgepress.compress.fine_tune import FineTune
from edgepress.program import Program
from edgepress.stage import Context, Outcome
from edgepress.trainable import Trainable

SAMPLES, BATCH = 64, 16


@pytest.fixture(scope="module")
def program() -> Program:
    return tiny_networks.capture(tiny_networks.Residual)


def run(program: Program, hook: TrainingHook, **changes: object) -> Outcome:
    options = dataclasses.replace(FineTune(epochs=2, batch_size=BATCH, holdout=0.25), **changes)
    context = Context(original=program, load_model=models.load, data=tiny_networks.Patches(SAMPLES))

    def loss(inputs: object, logits: torch.Tensor, labels: torch.Tensor | None) -> torch.Tensor:
        assert labels is not None
        return functional.cross_entropy(logits, labels)

    return train(program, options, context, loss, hook)


class Diary(TrainingHook):
    """Writes down what is called, and checks on the way that gradients and weights are as promised."""

    def __init__(self) -> None:
        self.entries: list[tuple[str, int]] = []

    def begin(self, module: Trainable, steps: int) -> None:
        self.entries.append(("begin", steps))
        self.weight = module.get_parameter("head.weight").detach().clone()

    def penalty(self, module: Trainable) -> None:
        self.entries.append(("penalty", 0))

    def before_step(self, module: Trainable, step: int) -> None:
        weight = module.get_parameter("head.weight")
        assert weight.equal(self.weight)
        assert weight.grad is not None
        self.entries.append(("before", step))

    def after_step(self, module: Trainable, step: int) -> None:
        weight = module.get_parameter("head.weight")
        assert not weight.equal(self.weight)
        self.weight = weight.detach().clone()
        self.entries.append(("after", step))

    def after_epoch(self, module: Trainable, epoch: int) -> None:
        self.entries.append(("epoch", epoch))


def test_calls_come_in_order(program: Program) -> None:
    diary = Diary()
    run(program, diary)
    steps = [[("penalty", 0), ("before", step), ("after", step)] for step in range(1, 7)]
    first, second = sum(steps[:3], []), sum(steps[3:], [])
    assert diary.entries == [("begin", 6), *first, ("epoch", 1), *second, ("epoch", 2)]


def test_a_penalty_is_trained_on(program: Program) -> None:
    class Shrink(TrainingHook):
        def penalty(self, module: Trainable) -> torch.Tensor:
            return 3.0 * module.get_parameter("second.weight").abs().mean()

    def size(outcome: Outcome) -> float:
        return float(outcome.program.exported.state_dict["second.weight"].detach().abs().mean())

    options = {"epochs": 6, "learning_rate": 0.1, "holdout": 0.0}
    assert size(run(program, Shrink(), **options)) < 0.7 * size(run(program, TrainingHook(), **options))


@pytest.mark.parametrize("average", [0.0, 0.5])
def test_what_a_hook_makes_of_an_epoch_is_the_result(program: Program, average: float) -> None:
    class Zero(TrainingHook):
        @torch.no_grad()
        def after_epoch(self, module: Trainable, epoch: int) -> None:
            module.get_parameter("second.weight")[0] = 0

    weight = run(program, Zero(), average=average).program.exported.state_dict["second.weight"]
    assert weight[0].count_nonzero() == 0
    assert weight[1:].count_nonzero() == weight[1:].numel()


def test_no_epoch_is_the_result_before_the_hook_says_so(program: Program) -> None:
    class Late(TrainingHook):
        epoch = 0

        def after_epoch(self, module: Trainable, epoch: int) -> None:
            self.epoch = epoch

        def may_end(self) -> bool:
            return self.epoch >= 3

    # At this rate every epoch is worse than the one before it.
    results = run(program, Late(), epochs=6, learning_rate=1.0, warmup=0.9, momentum=0.0, patience=1).results
    assert results["best_epoch"] >= 3
    assert results["epochs"] >= 4
