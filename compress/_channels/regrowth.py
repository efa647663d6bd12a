"""Cuts channels off so that training may bring them back, and lets a ranking see how far they have come."""

from __future__ import annotations

import numpy as np
import torch

from edgepress.compress._channels.labels import Parts
from edgepress.compress._channels.plan import Plan, classes_kept
from edgepress.compress._channels.scores import bound_once
from edgepress.compress._channels.structure import Structure, bundles_of_classes, read_structure
from edgepress.program import Program


def cut_off(program: Program, plan: Plan) -> Program:
    """The program, of its old size, in which nothing comes of the channels that the plan removes.

    The weights that read them become zero, not the filters that make them: behind a ReLU, a channel that is zero
    has no gradient and would stay zero for ever, but a weight that reads a live channel has one.
    """
    structure = read_structure(program, plan.parts)
    gone = ~classes_kept(structure, plan.removed)
    read = _is_read(structure)
    module = program.graph_module()
    tensors = dict([*module.named_parameters(), *module.named_buffers()])
    with torch.no_grad():
        for binding, role in bound_once(structure.labelling):
            classes = structure.labelling.classes[binding.labels]
            # What no weight reads, as queries that meet keys, can only be cut off where it is made.
            chosen = gone[classes] & (read[classes] == (role == "reader"))
            tensors[binding.name].index_fill_(binding.axis, torch.from_numpy(np.flatnonzero(chosen)), 0)
    return program.replace(module)


def as_read(program: Program, parts: Parts = "auto") -> Program:
    """The program with every channel's filters and batch-norm scale times how strongly it is read.

    That is the norm of the weights that read it over the mean norm in its bundle: 0 for a channel that was just
    cut off. Only for criteria that look at filters or scales alone; what it computes is of no use.
    """
    structure = read_structure(program, parts)
    factors = _reading(structure, program)
    module = program.graph_module()
    tensors = dict([*module.named_parameters(), *module.named_buffers()])
    with torch.no_grad():
        for binding, role in bound_once(structure.labelling):
            classes = structure.labelling.classes[binding.labels]
            if role in ("filter", "scale"):
                tensor = tensors[binding.name]
                shape = [-1 if axis == binding.axis else 1 for axis in range(tensor.ndim)]
                tensor.mul_(torch.from_numpy(factors[classes]).to(tensor).reshape(shape))
    return program.replace(module)


def _reading(structure: Structure, program: Program) -> np.ndarray:
    """Of each class, how strongly it is read; 1 where it cannot be removed, or nothing in its bundle is read."""
    module = program.graph_module()
    tensors = dict([*module.named_parameters(), *module.named_buffers()])
    squares = np.zeros(structure.labelling.count)
    for binding, role in bound_once(structure.labelling):
        classes = structure.labelling.classes[binding.labels]
        if role == "reader":
            rows = tensors[binding.name].detach().movedim(binding.axis, 0).reshape(len(classes), -1)
            np.add.at(squares, classes, rows.double().square().sum(1).numpy())
    factors = np.ones(structure.labelling.count)
    for bundle in bundles_of_classes(structure):
        norms = np.sqrt(squares[bundle])
        if norms.any():
            factors[bundle] = norms / norms.mean()
    return factors


def _is_read(structure: Structure) -> np.ndarray:
    """Which classes (bool) some weight reads."""
    read = np.zeros(structure.labelling.count, bool)
    for binding, role in bound_once(structure.labelling):
        if role == "reader":
            read[structure.labelling.classes[binding.labels]] = True
    return read
