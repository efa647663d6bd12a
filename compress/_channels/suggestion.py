"""Turns a sensitivity scan into a recipe: every group loses the share of its channels that costs the same drop."""

from __future__ import annotations

import statistics

import numpy as np

from edgepress.compress._channels.budget import Bundle
from edgepress.compress._channels.bundles import rounding_step
from edgepress.compress._channels.structure import Structure, bundles_of_classes, read_structure
from edgepress.compress.prune_channels import PruneChannels
from edgepress.errors import BudgetMissed
from edgepress.options import build
from edgepress.program import Program
from edgepress.recipe import Recipe
from edgepress.rules import Rule, Rules
from edgepress.sensitivity import Part, Sensitivity

LEAST_RATIO = 0.01
"""A group that may lose less than this loses nothing."""
BISECTIONS = 30


def equal_drops(program: Program, found: Sensitivity, macs: float) -> Recipe:
    """A recipe after which at most the share `macs` of the multiply-accumulates stays, and each group alone would
    cost as many points as every other; between the ratios that were tried, drops are taken to be linear.

    No group loses more than the largest ratio tried on it. Raises BudgetMissed when that is not enough.
    """
    structure = read_structure(program)
    most = macs * structure.given_macs
    low, high = 0.0, max((found.drop(trial) for part in found.parts for trial in part.trials), default=0.0)
    if (least := _macs(structure, _ratios(found, high))) > most:
        raise BudgetMissed(
            f"With the ratios of this scan {least / structure.given_macs:.3f} of the multiply-accumulates stays, "
            f"not {macs}.",
            hint="scan larger ratios (--ratios), or a larger macs",
        )
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        if _macs(structure, _ratios(found, middle)) > most:
            low = middle
        else:
            high = middle
    return _recipe(found, _ratios(found, high))


def _ratios(found: Sensitivity, drop: float) -> list[float]:
    """The largest ratio of each part that costs at most `drop` points."""
    return [_ratio(found, part, drop) for part in found.parts]


def _ratio(found: Sensitivity, part: Part, drop: float) -> float:
    """Along a curve that never falls: what a small ratio costs, a larger one is not credited with."""
    ratios = np.array([0.0, *(trial.ratio for trial in part.trials)])
    drops = np.maximum.accumulate([0.0, *(found.drop(trial) for trial in part.trials)])
    last = int(np.flatnonzero(drops <= drop)[-1])
    if last == len(ratios) - 1:
        return float(ratios[-1])
    way = (drop - drops[last]) / (drops[last + 1] - drops[last])
    return float(ratios[last] + way * (ratios[last + 1] - ratios[last]))


def _macs(structure: Structure, ratios: list[float]) -> float:
    """What is left after these ratios, as prune_channels rounds them."""
    kept = np.ones(structure.labelling.count, bool)
    for classes, ratio in zip(bundles_of_classes(structure), ratios, strict=True):
        step = rounding_step(structure, classes, PruneChannels().round_to)
        bundle = Bundle(classes, np.zeros(len(classes)), step, 1 - _rounded(ratio))
        kept[classes[: len(classes) - bundle.start()]] = False
    return structure.macs(structure.counts(kept))


def _rounded(ratio: float) -> float:
    return 0.0 if ratio < LEAST_RATIO else round(ratio, 3)


def _recipe(found: Sensitivity, ratios: list[float]) -> Recipe:
    """One rule a group; the stage's own ratio is for layers that make channels of several groups."""
    usual = round(statistics.median(ratio for ratio in map(_rounded, ratios) if ratio), 3)
    criterion = found.question.options["criterion"]
    stage = build(PruneChannels, {"ratio": usual, "criterion": criterion})
    makers = [layer for part in found.parts for layer in part.layers]
    rules = []
    for part, ratio in zip(found.parts, map(_rounded, ratios), strict=True):
        own = next((layer for layer in part.layers if makers.count(layer) == 1), None)
        if own is not None and ratio:
            rules.append(Rule(layer=own, stage=PruneChannels.name(), options={"ratio": ratio}))
        elif own is not None:
            rules.append(Rule(layer=own, stage=PruneChannels.name(), skip=True))
    return Recipe((stage,), Rules(tuple(rules)))
