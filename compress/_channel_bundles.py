"""The removable channels of a network, in bundles that the same layers make, each scored by a criterion."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from edgepress.compress._channel_budget import Bundle
from edgepress.compress._channel_scores import groups_for, loss_gradients
from edgepress.compress._channel_structure import Structure, bundles_of_classes
from edgepress.compress._classification import check_scores
from edgepress.compress._importance import CRITERIA
from edgepress.data import Batch
from edgepress.errors import UnsupportedModel
from edgepress.program import Program

if TYPE_CHECKING:
    from edgepress.compress.prune_channels import PruneChannels


def bundles(
    options: PruneChannels,
    program: Program,
    structure: Structure,
    rules: Mapping[str, PruneChannels | None],
    calibration: tuple[str, Sequence[Batch]],
) -> tuple[Bundle, ...]:
    """One Bundle for each set of makers. `rules` has each layer's own options; `calibration` the data's
    name and its batches, which only some criteria read."""
    name, batches = calibration
    gradients = {}
    if options.criterion == "taylor":
        gradients = loss_gradients(program, batches, lambda output, batch: _loss(output, batch, name))
    members = bundles_of_classes(structure)
    groups = groups_for(structure.labelling, members, gradients)
    found = []
    for classes, group in zip(members, groups, strict=True):
        if options.criterion == "bn_scale" and not any(slices.role == "scale" for slices in group.slices):
            raise UnsupportedModel(
                "The criterion bn_scale needs a batch-norm behind the layer.",
                where=structure.makers_of(classes[0])[0].name,
                hint="criterion=l2, or a rule that skips this layer",
            )
        scores = CRITERIA[options.criterion](group)
        order = np.argsort(scores, kind="stable")
        steps = {(rules[layer.name] or options).round_to for layer in structure.makers_of(classes[0])}
        step = math.lcm(*steps)
        found.append(Bundle(classes[order], scores[order], step if len(classes) >= step else 1))
    return tuple(found)


def _loss(output: torch.Tensor, batch: Batch, data_name: str) -> torch.Tensor:
    """Cross-entropy with the labels; where there are none, with what the network itself says."""
    labels = output.argmax(1) if batch.labels is None else torch.from_numpy(batch.labels)
    check_scores(output, labels, data_name)
    return torch.nn.functional.cross_entropy(output, labels)
