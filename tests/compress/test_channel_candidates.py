"""Several plans for one budget: the one that answers most like the original is kept, judged on samples held back."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import tiny_networks

from edgepress.compress._channels import candidates
from edgepress.compress.prune_channels import PruneChannels
from edgepress.data import Batch
from edgepress.errors import BadInput, BudgetMissed
from edgepress.program import Program
from edgepress.stage import Context

STAGE = PruneChannels(macs=0.5, samples=64, batch_size=32, round_to=4, candidates=4)


class Watched(tiny_networks.Patches):
    """Notes which samples are asked for: (skip, limit)."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[int, int | None]] = []

    def batches(self, *args: Any, **options: Any) -> Any:
        self.asked.append((options.get("skip", 0), options.get("limit")))
        return super().batches(*args, **options)


@pytest.fixture(scope="module")
def program() -> Program:
    return tiny_networks.capture(tiny_networks.Residual)


def _context(program: Program, data: tiny_networks.Patches) -> Context:
    return Context(original=program, load_model=lambda name: program, data=data)


def _answered(program: Program, batches: list[Batch]) -> list[tuple[Batch, candidates.Outputs]]:
    return [(batch, program.run(*batch.inputs)) for batch in batches]


def test_the_nearest_to_the_original_is_kept(program: Program) -> None:
    data = Watched()
    outcome = STAGE.apply(program, _context(program, data))
    distances = outcome.results["candidates"]
    assert isinstance(distances, dict)
    assert len(distances) > 1
    judging = _answered(program, list(tiny_networks.Patches().batches("calibrate", None, skip=64)))
    found = candidates.distance(outcome.program, judging)
    assert found == pytest.approx(min(distances.values()))
    assert data.asked[0] == (64, candidates.JUDGING_SAMPLES)
    assert all(asked == (0, 64) for asked in data.asked[1:])


def test_alike_plans_are_carried_out_once(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(candidates, "ALTERNATIVES", (("l2", 0.5), ("l2", 0.5), ("l2", 0.5)))
    stage = dataclasses.replace(STAGE, criterion="l2", saving_exponent=0.4999)
    outcome = stage.apply(program, _context(program, tiny_networks.Patches()))
    assert list(outcome.results["candidates"]) == ["l2, saving_exponent=0.4999"]


def test_the_distance_is_over_the_originals_squares(program: Program) -> None:
    batches = list(tiny_networks.Patches(40).batches("calibrate", None, batch_size=32))
    other = tiny_networks.capture(tiny_networks.Residual, seed=1)
    (wanted,), (found,) = (network.run(tiny_networks.Patches(40).pictures) for network in (program, other))
    expected = np.square(wanted - found).sum() / np.square(wanted).sum()
    # Float32 outputs of batches of 32 and of 40.
    judging = _answered(program, batches)
    assert candidates.distance(other, judging) == pytest.approx(expected, rel=1e-4)
    assert candidates.distance(program, judging) == 0


def test_without_samples_to_judge_by_it_says_what_to_do(program: Program) -> None:
    stage = dataclasses.replace(STAGE, samples=96)
    with pytest.raises(BadInput, match="leaving none to compare"):
        stage.apply(program, _context(program, tiny_networks.Patches()))


def test_a_budget_that_no_candidate_reaches_is_missed(program: Program) -> None:
    stage = dataclasses.replace(STAGE, macs=0.01)
    with pytest.raises(BudgetMissed):
        stage.apply(program, _context(program, tiny_networks.Patches()))


def test_candidates_need_data() -> None:
    assert STAGE.needs() == {"calibrate"}
    assert dataclasses.replace(STAGE, candidates=1).needs() == frozenset()
