"""Tries several plans for one budget and keeps the one whose network answers most like the unpruned one.

As in EagleEye (Li et al., 2020) each candidate gets back what data without labels can give before it is judged;
it is judged by its answers' distance from the original's, on calibration samples that nothing else reads.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from edgepress.compress._channels.importance import CriterionName
from edgepress.compress._channels.plan import Plan
from edgepress.data import Batch
from edgepress.errors import BadInput, BudgetMissed
from edgepress.history import Value
from edgepress.program import Program
from edgepress.stage import Context, Outcome

if TYPE_CHECKING:
    from edgepress.compress.prune_channels import PruneChannels

ALTERNATIVES: tuple[tuple[CriterionName, float], ...] = (
    ("l2", 0.5),
    ("taylor", 0.5),
    ("fisher", 0.5),
    ("l2", 0.25),
    ("taylor", 1.0),
    ("geometric_median", 0.5),
    ("fisher", 1.0),
)
"""Criterion and saving_exponent, the likeliest first."""

MOST = len(ALTERNATIVES) + 1
JUDGING_SAMPLES = 512
Outputs = tuple[np.ndarray, ...]


def best(options: PruneChannels, program: Program, context: Context) -> tuple[Plan, Outcome]:
    """The plan and the outcome of the best candidate; its results tell the distance of each.

    Raises BudgetMissed where no candidate reaches the budget, and BadInput without samples to judge by.
    """
    judging = [(batch, program.run(*batch.inputs)) for batch in _judging_batches(options, program, context)]
    found: list[tuple[float, Plan, Outcome]] = []
    distances: dict[str, Value] = {}
    missed: BudgetMissed | None = None
    for stage in islice(_stages(options), options.candidates):
        try:
            plan = stage.plan(program, context)
        except BudgetMissed as error:
            missed = error
            continue
        if any(plan.layers == other.layers for _, other, _ in found):
            continue
        outcome = stage.carry_out(program, plan, context)
        found.append((distance(outcome.program, judging), plan, outcome))
        distances[f"{stage.criterion}, saving_exponent={stage.saving_exponent:g}"] = found[-1][0]
        context.progress(f"{options.name()}: candidates", len(distances), options.candidates)
    if not found:
        assert missed is not None, "a candidate without a plan has said why"
        raise missed
    _, plan, outcome = min(found, key=lambda candidate: candidate[0])
    return plan, dataclasses.replace(outcome, results={**outcome.results, "candidates": distances})


def distance(pruned: Program, judging: Sequence[tuple[Batch, Outputs]]) -> float:
    """The squared difference from all outputs that each batch should have, over the squares of these."""
    missed = whole = 0.0
    for batch, outputs in judging:
        for wanted, found in zip(outputs, pruned.run(*batch.inputs), strict=True):
            missed += float(np.square(wanted - found, dtype=np.float64).sum())
            whole += float(np.square(wanted, dtype=np.float64).sum())
    return missed / max(whole, 1e-300)


def _stages(options: PruneChannels) -> Iterator[PruneChannels]:
    """What the options say, then the alternatives to it."""
    own = (options.criterion, options.saving_exponent)
    yield options
    for criterion, exponent in ALTERNATIVES:
        if (criterion, exponent) != own:
            yield dataclasses.replace(options, criterion=criterion, saving_exponent=exponent)


def _judging_batches(options: PruneChannels, program: Program, context: Context) -> list[Batch]:
    data = context.required_data()
    batches = list(
        data.batches(
            "calibrate",
            program.preprocess,
            batch_size=options.batch_size,
            skip=options.samples,
            limit=JUDGING_SAMPLES,
        )
    )
    if not batches:
        raise BadInput(
            f"All {data.count('calibrate')} calibration samples go into the candidates, leaving none to compare them on.",
            where=f"{options.name()} candidates={options.candidates}",
            hint=f"set samples below {data.count('calibrate')}, or candidates=1",
        )
    return batches
