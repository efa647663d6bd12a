"""Why the search leaves a layer all of its channels: what the plan tells of layers that could have lost some."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edgepress.compress._channels.budget import Bundle, Problem
from edgepress.compress._channels.plan import reasons_to_stay
from edgepress.compress._channels.structure import Structure


def reasons_after(structure: Structure, problem: Problem, kept: np.ndarray) -> Mapping[str, str]:
    """Of every layer that loses nothing when the classes in `kept` (bool) stay: why."""
    reasons = reasons_to_stay(structure)
    bundle_of = {number: bundle for bundle in problem.bundles for number in bundle.classes.tolist()}
    counts = structure.counts(kept)
    for layer in structure.layers:
        if layer.outputs is not None and layer.name not in reasons and kept[layer.outputs].all():
            bundle = next(bundle_of[number] for number in layer.outputs.tolist() if number in bundle_of)
            axis = structure.axis(layer.outputs)
            reasons[layer.name] = _reason(bundle, int(counts[axis]), int(problem.floors[axis]))
    return reasons


def _reason(bundle: Bundle, count: int, floor: int) -> str:
    size = len(bundle.classes)
    wanted = size - len(bundle.removable(size)) if bundle.share is None else bundle.start()
    if wanted == size:
        rounded = f", rounded to multiples of {bundle.step}" if bundle.step > 1 else ""
        return f"{1 - (bundle.share or 0):.0%} of its {size} channels is none{rounded}"
    if count - (size - wanted) < floor:
        return f"{count - (size - wanted)} channels would be fewer than the {floor} that must stay"
    return "its channels matter more than others'"
