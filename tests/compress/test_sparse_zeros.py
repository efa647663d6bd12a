"""Zeros of pruned weights survive whatever follows: training, files, channel pruning, folding and quantization."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny_networks
import torch

from edgepress import compress
from edgepress.compress._sparse.zeros import sparse_weights
from edgepress.compress.distill import Distill
from edgepress.compress.fine_tune import FineTune
from edgepress.compress.prune_channels import PruneChannels
from edgepress.compress.prune_weights import PruneWeights
from edgepress.compress.quantize_static import QuantizeStatic
from edgepress.history import History, Step
from edgepress.program import Program
from edgepress.recipe import Recipe
from edgepress.stage import Stage

LAYERS = ("stem.weight", "first.weight", "second.weight", "head.weight")


@pytest.fixture(scope="module")
def sparse() -> Program:
    program = tiny_networks.capture(tiny_networks.Residual)
    return compress.apply(program, Recipe((PruneWeights(sparsity=0.7),)))


def then(program: Program, *stages: Stage) -> Program:
    return compress.apply(program, Recipe(stages), tiny_networks.Patches())


def zeros(program: Program) -> dict[str, torch.Tensor]:
    return {name: program.exported.state_dict[name] == 0 for name in LAYERS}


@pytest.mark.parametrize(
    "stage",
    [
        FineTune(epochs=2, batch_size=16, learning_rate=0.1),
        FineTune(epochs=1, batch_size=16, optimizer="adamw", average=0.9, learning_rate=0.01),
        Distill(epochs=1, batch_size=16),
    ],
    ids=lambda stage: f"{stage.name()}-{stage.optimizer}",
)
def test_training_keeps_exactly_the_zeros(sparse: Program, stage: Stage) -> None:
    after = then(sparse, stage)
    for name, zero in zeros(after).items():
        assert zero.equal(zeros(sparse)[name]), name
        assert not after.exported.state_dict[name].equal(sparse.exported.state_dict[name]), "it has learned"


def test_training_a_network_from_a_file_keeps_them_and_quantizing_does(
    sparse: Program, tmp_path: Path
) -> None:
    """Batch-norm folding multiplies them, and int8 weights have their zero at zero."""
    sparse.save(tmp_path / "sparse.pt2")
    tuned = then(Program.load(tmp_path / "sparse.pt2"), FineTune(epochs=1, batch_size=16))
    tuned.save(tmp_path / "tuned.pt2")
    quantized = then(
        Program.load(tmp_path / "tuned.pt2"), Distill(epochs=1, batch_size=16), QuantizeStatic(samples=16)
    )
    stored = {**quantized.exported.state_dict, **quantized.exported.constants}
    for name, zero in zeros(sparse).items():
        assert stored[name].dtype == torch.int8
        assert not stored[name][zero].any(), name


def test_what_channel_pruning_leaves_of_them_stays(sparse: Program) -> None:
    narrow = then(sparse, PruneChannels(parameters=0.6))
    tuned = then(narrow, FineTune(epochs=1, batch_size=16))
    for name, zero in zeros(narrow).items():
        assert zero.equal(zeros(tuned)[name]), name
    assert sum(int(zero.sum()) for zero in zeros(narrow).values()) > 500


def test_zeros_that_nobody_pruned_are_free_to_learn() -> None:
    program = tiny_networks.capture(tiny_networks.Residual)
    with torch.no_grad():
        program.exported.state_dict["head.weight"].zero_()
    tuned = then(program, FineTune(epochs=1, batch_size=16))
    assert tuned.exported.state_dict["head.weight"].count_nonzero() == 64


def test_which_weights_the_history_calls_sparse() -> None:
    history = History(
        (
            Step("prune_weights", results={"sparse": {"a.weight": {}, "b.weight": {}}}),
            Step("fine_tune", results={"epochs": 1}),
            Step("another", results={"sparse": 0.5}),
            Step("prune_weights", results={"sparse": {"b.weight": {}, "c.weight": {}}}),
        )
    )
    assert sparse_weights(history) == {"a.weight", "b.weight", "c.weight"}
