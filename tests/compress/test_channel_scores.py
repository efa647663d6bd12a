"""Scores of a whole network: what is averaged, what is kept in memory, and what cannot be scored."""

from __future__ import annotations

import weakref
from collections.abc import Iterator

import numpy as np
import pytest
import tiny_networks
import torch

from edgepress.compress._channels.importance import CRITERIA
from edgepress.compress._channels.scores import Samples, channel_scores
from edgepress.compress._channels.structure import Structure, read_structure
from edgepress.data import Batch
from edgepress.errors import BadInput, UnsupportedModel

ASKING = [name for name, found in CRITERIA.items() if found.needs_data]


@pytest.fixture(scope="module")
def structure() -> Structure:
    return read_structure(tiny_networks.capture(tiny_networks.Residual))


def batch(size: int, seed: int = 0, labelled: bool = True) -> Batch:
    random = np.random.default_rng(seed)
    pictures = random.standard_normal((size, 3, tiny_networks.SIZE, tiny_networks.SIZE)).astype(np.float32)
    return Batch((pictures,), random.integers(0, tiny_networks.CLASSES, size) if labelled else None)


def scores(structure: Structure, criterion: str, *batches: Batch) -> np.ndarray:
    return np.concatenate(channel_scores(structure, criterion, Samples(name="test", batches=batches)))


@pytest.mark.parametrize("criterion", ASKING)
def test_scores_are_the_mean_over_samples_not_over_batches(structure: Structure, criterion: str) -> None:
    large, small = batch(6, 1), batch(2, 2)
    expected = (6 * scores(structure, criterion, large) + 2 * scores(structure, criterion, small)) / 8
    np.testing.assert_allclose(scores(structure, criterion, large, small), expected, rtol=1e-6)


@pytest.mark.parametrize("criterion", ["fisher", "activation"])
def test_what_is_seen_of_single_samples_does_not_depend_on_the_batches(
    structure: Structure, criterion: str
) -> None:
    whole = batch(6, 1)
    parts = [
        Batch((whole.inputs[0][start : start + 2],), whole.labels[start : start + 2]) for start in (0, 2, 4)
    ]
    # Float32 sums in another order.
    np.testing.assert_allclose(
        scores(structure, criterion, *parts), scores(structure, criterion, whole), rtol=1e-3, atol=1e-9
    )


@pytest.mark.parametrize("criterion", ASKING)
def test_without_labels_the_networks_own_answers_take_their_place(
    structure: Structure, criterion: str
) -> None:
    unlabelled = batch(8, labelled=False)
    with torch.no_grad():
        answers = structure.labelling.graph_module(torch.from_numpy(unlabelled.inputs[0]))
    first = answers[0] if isinstance(answers, tuple | list) else answers
    labelled = Batch(unlabelled.inputs, first.argmax(1).numpy())
    np.testing.assert_array_equal(
        scores(structure, criterion, unlabelled), scores(structure, criterion, labelled)
    )


@pytest.mark.parametrize("criterion", ASKING)
def test_no_more_than_the_batch_at_work_and_the_next_one_are_kept(
    structure: Structure, criterion: str
) -> None:
    made: list[weakref.ref[Batch]] = []

    def stream() -> Iterator[Batch]:
        for seed in range(4):
            assert sum(known() is not None for known in made) <= 1
            fresh = batch(4, seed)
            made.append(weakref.ref(fresh))
            yield fresh
            del fresh

    channel_scores(structure, criterion, Samples(name="test", batches=stream()))
    assert len(made) == 4


def test_what_is_not_finite_names_the_layer(structure: Structure) -> None:
    broken = batch(4)
    broken.inputs[0][2, 0, 0, 0] = np.nan
    with pytest.raises(UnsupportedModel, match="activation finds NaN or infinity") as raised:
        scores(structure, "activation", broken)
    assert raised.value.where == "layer stem"


def test_data_without_samples_is_refused(structure: Structure) -> None:
    with pytest.raises(BadInput, match="no samples"):
        scores(structure, "taylor")


def test_the_seed_decides_about_chance_and_about_nothing_else(structure: Structure) -> None:
    def drawn(criterion: str, seed: int) -> np.ndarray:
        return np.concatenate(channel_scores(structure, criterion, Samples(seed)))

    np.testing.assert_array_equal(drawn("random", 1), drawn("random", 1))
    assert (drawn("random", 1) != drawn("random", 2)).all()
    np.testing.assert_array_equal(drawn("l2", 1), drawn("l2", 2))
