"""Gathers, for every group of channels, the stored tensors that would go with it, and scores them by a criterion."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch

from edgepress import graph
from edgepress.compress._channel_labels import Binding, Labelling
from edgepress.compress._importance import Group, Role, Slices
from edgepress.data import Batch
from edgepress.program import Program


def groups_for(
    labelling: Labelling, members: Sequence[np.ndarray], gradients: Mapping[str, np.ndarray]
) -> list[Group]:
    """A Group for each array of classes in `members`. `gradients[name]` is batches x shape of the tensor."""
    group_of = np.full(labelling.count, -1)
    place_of = np.zeros(labelling.count, np.int64)
    for number, classes in enumerate(members):
        group_of[classes] = number
        place_of[classes] = np.arange(len(classes))
    slices: list[list[Slices]] = [[] for _ in members]
    seen = set()
    for binding in labelling.bindings:
        role = role_of(labelling, binding)
        if role is None or (binding.name, binding.axis) in seen:
            continue
        seen.add((binding.name, binding.axis))
        classes = labelling.classes[binding.labels]
        values = _rows(graph.constant(labelling.graph_module, binding.constant), binding.axis)
        gradient = gradients.get(binding.name)
        if gradient is not None:
            gradient = np.moveaxis(gradient, binding.axis + 1, 1).reshape(len(gradient), *values.shape)
        for number in np.unique(group_of[classes]).tolist():
            rows = group_of[classes] == number
            if number >= 0:
                part = None if gradient is None else gradient[:, rows]
                slices[number].append(Slices(role, place_of[classes[rows]], values[rows], part))
    return [Group(len(classes), tuple(found)) for classes, found in zip(members, slices, strict=True)]


def loss_gradients(
    program: Program, batches: Sequence[Batch], loss: Callable[[torch.Tensor, Batch], torch.Tensor]
) -> dict[str, np.ndarray]:
    """The gradient of `loss` for every parameter and batch: batches x shape, by parameter name."""
    module = program.module()
    found: dict[str, list[np.ndarray]] = {}
    for batch in batches:
        module.zero_grad()
        output = module(*(torch.from_numpy(array) for array in batch.inputs))
        first = output[0] if isinstance(output, tuple | list) else output
        loss(first, batch).backward()
        for name, parameter in module.named_parameters():
            if parameter.grad is not None:
                found.setdefault(name, []).append(parameter.grad.numpy().copy())
    return {name: np.stack(gradients) for name, gradients in found.items() if len(gradients) == len(batches)}


def _rows(value: torch.Tensor | None, axis: int) -> np.ndarray:
    assert value is not None
    rows: np.ndarray = value.detach().movedim(axis, 0).reshape(value.shape[axis], -1).double().numpy()
    return rows


def role_of(labelling: Labelling, binding: Binding) -> Role | None:
    """What the stored tensor does for the channels it is bound to."""
    arguments = graph.arguments(binding.node)
    if binding.constant is arguments.get("running_mean") or binding.constant is arguments.get("running_var"):
        return None
    if binding.node.target not in graph.WEIGHTED or binding.constant is arguments.get("bias"):
        is_scale = (
            binding.node.target is graph.aten.batch_norm.default and binding.constant is arguments["weight"]
        )
        return "scale" if is_scale else "shift"
    own = labelling.channels[binding.node]
    is_made = own is not None and np.isin(binding.labels, own.labels).all()
    return "filter" if is_made else "reader"
