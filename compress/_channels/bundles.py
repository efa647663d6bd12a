"""The removable channels of a network, in bundles that the same layers make, the least important first."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from edgepress.compress._channels.budget import Bundle
from edgepress.compress._channels.layers import Layer
from edgepress.compress._channels.scores import Samples, channel_scores
from edgepress.compress._channels.structure import Structure, bundles_of_classes
from edgepress.errors import BadOption

if TYPE_CHECKING:
    from edgepress.compress.prune_channels import PruneChannels

LayerRules = Mapping[str, "PruneChannels | None"]


def bundles(
    options: PruneChannels, structure: Structure, rules: LayerRules, samples: Samples
) -> tuple[Bundle, ...]:
    """One Bundle for each set of makers. `rules` has each layer's own options.

    Raises BadOption where rules give tied layers different ratios.
    """
    members = bundles_of_classes(structure)
    found = []
    for classes, scores in zip(members, channel_scores(structure, options.criterion, samples), strict=True):
        order = np.argsort(scores, kind="stable")
        holders = _holders(structure, classes)
        round_to = math.lcm(*((rules[layer.name] or options).round_to for layer in holders))
        step = rounding_step(structure, classes, round_to)
        ratio = _ratio(options, holders, rules)
        share = None if ratio is None else 1 - ratio
        found.append(Bundle(classes[order], scores[order], step, share))
    return tuple(found)


def rounding_step(structure: Structure, classes: np.ndarray, round_to: int) -> int:
    """By how many classes of a bundle counts go, so that channels go by `round_to` where there are as many."""
    step = round_to // math.gcd(round_to, structure.places(int(classes[0])))
    return step if len(classes) >= step else 1


def _holders(structure: Structure, classes: np.ndarray) -> list[Layer]:
    """The layers that have any of these channels as outputs: their makers, and depthwise layers behind."""
    return [
        layer
        for layer in structure.layers
        if layer.outputs is not None and np.isin(layer.outputs, classes).any()
    ]


def _ratio(options: PruneChannels, holders: Sequence[Layer], rules: LayerRules) -> float | None:
    """The share to remove that a rule gives one of these layers, or else the stage; None leaves it to the search."""
    ruled = {
        layer.name: ratio
        for layer in holders
        if (ratio := (rules[layer.name] or options).ratio) != options.ratio
    }
    if len(set(ruled.values())) > 1:
        raise BadOption(
            "Layers that can only be pruned together have rules with different ratios.",
            where="; ".join(f"{name}: ratio={ratio:g}" for name, ratio in ruled.items()),
            hint="give all of them the same ratio, or give it to one and the others follow",
        )
    return next(iter(ruled.values()), options.ratio)
