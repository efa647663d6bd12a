"""The training loop: it learns, keeps its best, is reproducible, and says what is wrong."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import tiny_networks
import torch

from edgepress import compress
from edgepress.accuracy import evaluate
from edgepress.compress._training import loop
from edgepress.compress._training.augment import augment
from edgepress.compress._training.checkpoint import Checkpoint, State
from edgepress.compress._training.loop import Tensors
from edgepress.compress._training.processes import Processes, Value
from edgepress.compress._training.state import Epoch
from edgepress.compress.distill import Distill, divergence
from edgepress.compress.fine_tune import FineTune
from edgepress.data._arrays import ArrayData
from edgepress.errors import BadInput, BadOption
from edgepress.program import Program
from edgepress.recipe import Recipe
from edgepress.stage import Context


@pytest.fixture(scope="module")
def data() -> tiny_networks.Patches:
    return tiny_networks.Patches(256)


@pytest.fixture(scope="module")
def untrained() -> Program:
    return tiny_networks.capture(tiny_networks.Concatenated)


@pytest.fixture(scope="module")
def trained(untrained: Program, data: tiny_networks.Patches) -> Program:
    return compress.apply(untrained, Recipe((FineTune(epochs=4, learning_rate=0.05, batch_size=32),)), data)


def accuracy(program: Program, data: tiny_networks.Patches) -> float:
    return evaluate(program.run, data, None).top1


def test_fine_tuning_learns(untrained: Program, trained: Program, data: tiny_networks.Patches) -> None:
    assert accuracy(untrained, data) < 60 < 95 < accuracy(trained, data)


@pytest.mark.parametrize(
    "changes", [{"optimizer": "adamw", "learning_rate": 0.01}, {"precision": "bfloat16"}, {"average": 0.8}]
)
def test_learns_with_every_option(
    untrained: Program, data: tiny_networks.Patches, changes: dict[str, object]
) -> None:
    stage = FineTune(**{"epochs": 6, "learning_rate": 0.05, "batch_size": 32} | changes)
    assert accuracy(compress.apply(untrained, Recipe((stage,)), data), data) > 90


def test_distillation_needs_no_labels(
    untrained: Program, trained: Program, data: tiny_networks.Patches, tmp_path: Path
) -> None:
    trained.save(tmp_path / "teacher.pt2")
    teacher = str(tmp_path / "teacher.pt2")
    student = compress.apply(
        untrained,
        Recipe((Distill(teacher=teacher, epochs=5, learning_rate=0.05, batch_size=32),)),
        tiny_networks.unlabelled(256),
    )
    assert accuracy(student, data) > 90


def test_keeps_the_best_epoch(untrained: Program, data: tiny_networks.Patches) -> None:
    """A learning rate that ruins the network at the peak of its schedule: an earlier epoch must win."""
    stage = FineTune(
        epochs=8, learning_rate=1.0, warmup=0.9, momentum=0.0, batch_size=32, holdout=0.25, patience=2
    )
    program = compress.apply(untrained, Recipe((stage,)), data)
    results = program.history.steps[-1].results
    assert results["epochs"] - results["best_epoch"] <= 2
    assert results["holdout_accuracy"] >= 25


def test_divergence_of_equal_logits_is_zero_and_of_others_positive() -> None:
    logits = torch.randn(8, 5, generator=torch.Generator().manual_seed(0))
    assert divergence(logits, logits, 4.0).abs() < 1e-6
    assert divergence(logits, -logits, 4.0) > 0.1


def test_a_diverging_training_says_so(untrained: Program, data: tiny_networks.Patches) -> None:
    with pytest.raises(BadOption, match="diverged"):
        compress.apply(untrained, Recipe((FineTune(epochs=8, learning_rate=1000.0, warmup=0),)), data)


def test_fine_tuning_without_labels_is_refused(untrained: Program) -> None:
    with pytest.raises(BadInput, match="needs labels"):
        compress.apply(untrained, Recipe((FineTune(epochs=1),)), tiny_networks.unlabelled())


def test_a_teacher_with_other_outputs_is_refused(
    untrained: Program, data: tiny_networks.Patches, tmp_path: Path
) -> None:
    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 16 * 16, 7))
    Program.capture(module, (torch.zeros(2, 3, 16, 16),)).save(tmp_path / "teacher.pt2")
    with pytest.raises(BadOption, match="teacher's outputs"):
        compress.apply(untrained, Recipe((Distill(teacher=str(tmp_path / "teacher.pt2")),)), data)


def test_labels_that_have_no_score_are_named(untrained: Program) -> None:
    pictures = tiny_networks.Patches(64).pictures
    data = ArrayData(pictures, labels=np.full(64, tiny_networks.CLASSES + 2))
    with pytest.raises(BadInput, match=r"The label \d has no score"):
        compress.apply(untrained, Recipe((FineTune(epochs=1),)), data)


def test_options_that_contradict_each_other_or_are_out_of_range(
    untrained: Program, data: tiny_networks.Patches
) -> None:
    with pytest.raises(BadOption, match="patience needs held-out samples"):
        compress.apply(untrained, Recipe((FineTune(patience=2, holdout=0),)), data)
    with pytest.raises(BadOption, match="epochs=0"):
        compress.apply(untrained, Recipe((FineTune(epochs=0),)), data)


def test_an_epoch_whose_loss_is_not_finite_never_wins() -> None:
    sound, broken = Epoch(1, 1.0, 2.0, 30.0), Epoch(2, 1.0, float("nan"), 90.0)
    assert not broken.beats(sound)
    assert sound.beats(broken)
    assert Epoch(3, 1.0, 1.5, 30.0).beats(sound)
    assert Epoch(3, 1.0, 1.5, None).beats(Epoch(2, 1.0, 1.6, None)), "without labels the loss decides"
    assert Epoch(2, 1.0, None, None).beats(Epoch(1, 1.0, None, None)), (
        "the last one where nothing is held out"
    )


def test_augmentation_moves_and_mirrors() -> None:
    pictures = torch.arange(2 * 8 * 8, dtype=torch.float32).reshape(2, 1, 8, 8)
    generator = torch.Generator().manual_seed(0)
    assert augment((pictures,), generator, random_crop=0, flip=False)[0].equal(pictures)
    (moved,) = augment((pictures,), generator, random_crop=2, flip=False)
    assert moved.shape == pictures.shape
    assert not moved.equal(pictures)
    assert set(moved.unique().tolist()) <= {0.0, *pictures.unique().tolist()}
    (mirrored,) = augment((pictures.repeat(16, 1, 1, 1),), generator, random_crop=0, flip=True)
    sums = {tuple(row) for row in mirrored[::2, 0, 0].tolist()}
    assert sums == {tuple(pictures[0, 0, 0].tolist()), tuple(pictures[0, 0, 0].flip(0).tolist())}


class Stopped(Exception):
    pass


@pytest.mark.parametrize("average", [0.0, 0.8])
def test_goes_on_after_the_last_whole_epoch(
    average: float, data: tiny_networks.Patches, tmp_path: Path
) -> None:
    """Stopped in the third epoch and begun again, it ends with the very weights of a training that nothing stopped."""
    program = tiny_networks.capture(tiny_networks.Separable)
    stage = FineTune(epochs=4, learning_rate=0.05, batch_size=32, average=average, random_crop=2)
    context = Context(
        original=program, load_model=lambda text: program, data=data, checkpoint=tmp_path / "training.pt"
    )
    steps: list[int] = []

    def stop(task: str, done: int, total: int | None) -> None:
        if "epoch 3" in task:
            raise Stopped

    whole = stage.apply(program, dataclasses.replace(context, checkpoint=None)).program
    with pytest.raises(Stopped):
        stage.apply(program, dataclasses.replace(context, progress=stop))

    def count(task: str, done: int, total: int | None) -> None:
        steps.append(done)

    resumed = stage.apply(program, dataclasses.replace(context, progress=count)).program
    assert min(steps) > max(steps) // 2, "two of the four epochs are not done again"
    for name, weight in whole.exported.state_dict.items():
        assert torch.equal(weight, resumed.exported.state_dict[name]), name


class Second(Processes):
    """The second of two processes, where both see every sample. `kept` is what the first has read."""

    count, rank = 2, 1

    def __init__(self, kept: State | None) -> None:
        self._kept = kept

    def from_first(self, value: Value) -> Value:
        return cast(Value, self._kept)

    def from_each(self, value: Value) -> list[Value]:
        return [torch.Generator().manual_seed(0).get_state(), value]


def test_every_process_goes_on_with_its_own_random_numbers(
    data: tiny_networks.Patches, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the first process drew is not what the second one would have drawn next."""
    program = tiny_networks.capture(tiny_networks.Separable)
    context = Context(original=program, load_model=lambda text: program, data=data)
    kept: list[State] = []
    monkeypatch.setattr(Checkpoint, "save", lambda self, state: kept.append(copy.deepcopy(state)))

    def draws(state: State | None) -> list[float]:
        found = []

        def loss(inputs: Tensors, logits: torch.Tensor, labels: torch.Tensor | None) -> torch.Tensor:
            found.append(torch.rand(()).item())
            return logits.square().mean()

        monkeypatch.setattr(loop, "current", lambda: Second(state))
        stage = FineTune(epochs=2, learning_rate=0.01, batch_size=64, holdout=0)
        loop.train(program, stage, context, loss)
        return found

    whole = draws(None)
    assert draws(kept[0]) == whole[len(whole) // 2 :]


def test_another_trainings_state_is_not_taken(data: tiny_networks.Patches, tmp_path: Path) -> None:
    path = tmp_path / "training.pt"
    Checkpoint(path, "fine_tune").save({"number": 3})
    assert Checkpoint(path, "fine_tune/fine_tune").load() is None
    assert Checkpoint(path, "fine_tune").load() == {"number": 3}
    path.write_bytes(b"not a state")
    with pytest.raises(BadInput, match="state of a training"):
        Checkpoint(path, "fine_tune").load()
