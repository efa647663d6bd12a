"""Gathers, for every group of channels, the stored tensors that would go with it, and scores them by a criterion."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from edgepress import graph
from edgepress.compress._channels.evidence import Seen, observe
from edgepress.compress._channels.group import Group, Role, Slices
from edgepress.compress._channels.importance import CRITERIA, Criterion
from edgepress.compress._channels.labels import Binding, Labelling
from edgepress.compress._channels.nodes import RECURRENT, shape_at_batch_one
from edgepress.compress._channels.structure import Structure, bundles_of_classes
from edgepress.compress._training.classification import check_scores, cross_entropy
from edgepress.data import Batch
from edgepress.errors import BadInput, UnsupportedModel


@dataclass(frozen=True)
class Samples:
    """What criteria may look at: the `batches` of the data called `name`; and the run's `seed`."""

    seed: int = 0
    name: str = ""
    batches: Iterable[Batch] = ()


def channel_scores(structure: Structure, criterion: str, samples: Samples) -> list[np.ndarray]:
    """The score of each channel of each of `bundles_of_classes`.

    Raises BadInput for data without samples, UnsupportedModel where a score is NaN or infinite.
    """
    chosen, members = CRITERIA[criterion], bundles_of_classes(structure)
    names = [structure.makers_of(classes[0])[0].name for classes in members]
    groups = [
        dataclasses.replace(group, name=name, seed=(samples.seed, number))
        for number, (group, name) in enumerate(
            zip(groups_for(structure.labelling, members), names, strict=True)
        )
    ]
    if chosen.needs_data:
        scores = _averaged(structure.labelling, chosen, members, groups, samples)
    else:
        scores = [chosen.score(group) for group in groups]
    for group, found in zip(groups, scores, strict=True):
        if not np.isfinite(found).all():
            raise UnsupportedModel(
                f"The criterion {criterion} finds NaN or infinity.",
                where=f"layer {group.name}",
                hint="check the weights, and the samples if the criterion looks at any",
            )
    return scores


def groups_for(labelling: Labelling, members: Sequence[np.ndarray]) -> list[Group]:
    """A Group for each array of classes in `members`."""
    group_of = np.full(labelling.count, -1)
    place_of = np.zeros(labelling.count, np.int64)
    for number, classes in enumerate(members):
        group_of[classes] = number
        place_of[classes] = np.arange(len(classes))
    slices: list[list[Slices]] = [[] for _ in members]
    for binding, role in bound_once(labelling):
        classes = labelling.classes[binding.labels]
        stored = graph.constant(labelling.graph_module, binding.constant)
        assert stored is not None, "only stored tensors are bound"
        tensor = stored.detach().float().numpy()
        for number in np.setdiff1d(group_of[classes], [-1]).tolist():
            rows = np.flatnonzero(group_of[classes] == number)
            chosen = None if len(rows) == len(classes) else rows
            slices[number].append(
                Slices(role, place_of[classes[rows]], tensor, binding.axis, chosen, name=binding.name)
            )
    return [Group(len(classes), tuple(found)) for classes, found in zip(members, slices, strict=True)]


def role_of(labelling: Labelling, binding: Binding) -> Role | None:
    """What the stored tensor does for the channels it is bound to."""
    arguments = graph.arguments(binding.node)
    if binding.constant is arguments.get("running_mean") or binding.constant is arguments.get("running_var"):
        return None
    if graph.op_name(binding.node) in RECURRENT:
        is_matrix = len(shape_at_batch_one(binding.constant)) == 2
        return "shift" if not is_matrix else "reader" if binding.axis else "filter"
    makes = binding.node.target in graph.WEIGHTED or graph.op_name(binding.node) == "embedding"
    if not makes or binding.constant is arguments.get("bias"):
        is_scale = (
            binding.node.target is graph.aten.batch_norm.default and binding.constant is arguments["weight"]
        )
        return "scale" if is_scale else "shift"
    own = labelling.channels[binding.node]
    is_made = own is not None and np.isin(binding.labels, own.labels).all()
    return "filter" if is_made else "reader"


def bound_once(labelling: Labelling) -> Iterator[tuple[Binding, Role]]:
    """Every binding that counts for a role, and of a tensor that several nodes use the first one."""
    seen = set()
    for binding in labelling.bindings:
        role = role_of(labelling, binding)
        if role is not None and (binding.name, binding.axis) not in seen:
            seen.add((binding.name, binding.axis))
            yield binding, role


def _averaged(
    labelling: Labelling,
    criterion: Criterion,
    members: Sequence[np.ndarray],
    groups: Sequence[Group],
    samples: Samples,
) -> list[np.ndarray]:
    """The mean over all samples of what the criterion says of each batch."""
    totals, count = [np.zeros(group.size) for group in groups], 0
    for seen in observe(labelling, criterion.evidence, samples.batches, _loss_of(samples.name)):
        for total, classes, group in zip(totals, members, groups, strict=True):
            total += seen.samples * criterion.score(_shown(group, classes, seen))
        count += seen.samples
    if not count:
        raise BadInput(
            "There are no samples to calibrate with.",
            where=samples.name,
            hint="data with samples to train or calibrate with",
        )
    return [total / count for total in totals]


def _shown(group: Group, classes: np.ndarray, seen: Seen) -> Group:
    """The group with what one batch shows of it."""
    if seen.channels is not None:
        return dataclasses.replace(group, observed=seen.channels[:, classes])
    slices = (dataclasses.replace(part, gradient=seen.gradients.get(part.name)) for part in group.slices)
    return dataclasses.replace(group, slices=tuple(slices))


def _loss_of(data_name: str) -> Callable[[torch.Tensor, Batch], torch.Tensor]:
    """Cross-entropy with the labels; where there are none, or boxes, with what the network itself says."""

    def loss(output: torch.Tensor, batch: Batch) -> torch.Tensor:
        if batch.labels is None or batch.labels.dtype == np.float32:
            labels = output.argmax(1)
        else:
            labels = torch.from_numpy(batch.labels)
        check_scores(output, labels, data_name)
        return cross_entropy(output, labels)

    return loss
