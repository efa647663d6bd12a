"""Refits the layers behind removed channels by least squares, so that they give what the unpruned network gave.

No labels are needed. Layer by layer in the order of execution, the weights become those that make the unpruned
network's output at sampled positions, before batch-norm and activation, of what the pruned and already
refitted network feeds the layer (He, Zhang and Sun, 2017, Channel Pruning for Accelerating Very Deep Neural
Networks; Luo, Wu and Lin, 2017, ThiNet). A residual branch's last layer makes up for what the shortcut lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.fx import GraphModule

from edgepress import graph
from edgepress.compress._channel_normalise import normalise
from edgepress.compress._reconstruct_least_squares import LeastSquares
from edgepress.compress._reconstruct_norm import Norm
from edgepress.compress._reconstruct_rows import input_rows, output_rows, sampled_places
from edgepress.compress._reconstruct_targets import Fit, Orders, find
from edgepress.compress._reconstruct_walk import Walk, live_elements
from edgepress.compress._sparse_zeros import sparse_weights
from edgepress.data import Batch
from edgepress.program import Program

ACTIVATION_BYTES = 1 << 30
"""Of both networks' activations, which are held for all samples at once; samples beyond it are not used."""

ROWS_AN_INPUT = 32
FEWEST_ROWS = 4096
"""How many positions a layer's weights are fitted on: so many for each input of an output."""

CHUNK_BYTES = 64 << 20
RIDGE = 1e-3
"""How strongly the old weights pull, against the mean square of an input. On held-back training pictures of a
ResNet-20, 1e-6 to 1e-3 are alike."""


@dataclass(frozen=True)
class Reconstruction:
    """`errors`: of each refitted layer, the share of its target's variance that it missed before and after.

    `left`: of each layer that reads something else than it did and still keeps its weights, why.
    """

    samples: int
    errors: dict[str, tuple[float, float]]
    left: dict[str, str]


def reconstructed(
    original: Program, pruned: Program, orders: Orders, batches: Sequence[Batch], ridge: float = RIDGE
) -> tuple[Program, Reconstruction]:
    """`pruned`, made from `original` by cutting stored tensors as `orders` says, with refitted weights."""
    teacher, student = original.graph_module(), pruned.graph_module()
    normalise(teacher)
    batches = _fitting(batches, live_elements(teacher) + live_elements(student))
    found = find(teacher, student, orders, sparse_weights(pruned.history))
    teacher_walk = Walk(teacher, batches, pinned={fit.target for fit in found.fits})
    student_walk = Walk(student, batches)
    generator = torch.Generator().manual_seed(0)
    errors = {}
    for fit in found.fits:
        student_walk.before(fit.layer)
        teacher_walk.through(fit.target)
        errors[graph.layer_name(fit.layer)] = _refit(
            student, fit, student_walk, teacher_walk, generator, ridge
        )
        teacher_walk.release(fit.target)
    samples = sum(len(batch) for batch in batches)
    return pruned.replace(student), Reconstruction(samples, errors, found.left)


def _fitting(batches: Sequence[Batch], elements: int) -> Sequence[Batch]:
    """As many of the batches as the bound on activations leaves room for; one at least."""
    most = ACTIVATION_BYTES // (4 * elements)
    taken = list(batches[:1])
    for batch in batches[1:]:
        if sum(len(other) for other in taken) + len(batch) <= most:
            taken.append(batch)
    return taken


def _refit(
    student: GraphModule,
    fit: Fit,
    student_walk: Walk,
    teacher_walk: Walk,
    generator: torch.Generator,
    ridge: float,
) -> tuple[float, float]:
    """Give the layer, and the batch-norm behind it, fitted constants; the error before and after."""
    weight_node, bias_node = graph.weight_node(fit.layer), graph.arguments(fit.layer)["bias"]
    assert weight_node is not None
    weight, bias = (graph.constant(student, node) for node in (weight_node, bias_node))
    assert weight is not None
    groups = graph.arguments(fit.layer).get("groups", 1)
    norm = None if fit.norm is None else Norm.read(student, fit.norm)
    old = weight.detach().double().reshape(groups, len(weight) // groups, -1).mT
    system = LeastSquares(*old.shape, has_intercept=bias is not None or norm is not None)
    wanted = max(FEWEST_ROWS, ROWS_AN_INPUT * old.shape[1])
    inputs = student_walk.values(graph.arguments(fit.layer)["input"])
    for number, read in enumerate(inputs):
        target = _target(fit, norm, student_walk, teacher_walk, number)
        places = sampled_places(fit.layer, target, -(-wanted // len(inputs)), generator)
        for chunk in places.split(max(1, CHUNK_BYTES // (8 * groups * old.shape[1]))):
            system.add(
                input_rows(fit.layer, read, weight.shape[2:], chunk),
                output_rows(fit.layer, target, groups, chunk),
            )
    new = system.solve(old, ridge)
    graph.set_constant(student, str(weight_node.target), new.mT.reshape(weight.shape).to(weight.dtype))
    target_mean, mean = system.target_mean.flatten(), system.mean(new).flatten()
    if norm is not None:
        shift = 0.0 if bias is None else bias.detach().double()
        norm.follow(student, mean + shift, system.variance(new).flatten(), target_mean)
    elif bias is not None:
        graph.set_constant(student, str(bias_node.target), (target_mean - mean).to(bias.dtype))
    return system.error(old), system.error(new)


def _target(fit: Fit, norm: Norm | None, student_walk: Walk, teacher_walk: Walk, batch: int) -> torch.Tensor:
    """What the layer should give for one batch of samples."""
    axis = -1 if fit.layer.target is graph.aten.linear.default else 1
    wanted = teacher_walk.values(fit.target)[batch]
    wanted = wanted.index_select(axis, torch.from_numpy(fit.outputs))
    if fit.other is None:
        return wanted
    wanted = wanted - student_walk.values(fit.other)[batch]
    return wanted if norm is None else norm.undone(wanted.double(), axis)
