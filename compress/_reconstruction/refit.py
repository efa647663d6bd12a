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
from torch.fx import GraphModule, Node

from edgepress import graph
from edgepress.compress._channels.normalise import normalise
from edgepress.compress._reconstruction.least_squares import LeastSquares
from edgepress.compress._reconstruction.norm import Norm
from edgepress.compress._reconstruction.rows import add_rows, rows_wanted, sampled_places
from edgepress.compress._reconstruction.targets import Fit, Orders, find
from edgepress.compress._reconstruction.walk import Walk, fitting, live_elements
from edgepress.compress._sparse.zeros import sparse_weights
from edgepress.data import Batch
from edgepress.program import Program

ACTIVATION_BYTES = 1 << 30
"""Of both networks' activations, which are held for all samples at once. Batches beyond it are not used; the first
always is."""

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
    batches = fitting(batches, live_elements(teacher) + live_elements(student), ACTIVATION_BYTES)
    found = find(teacher, student, orders, sparse_weights(pruned.history))
    teacher_walk = Walk(teacher, batches, pinned={fit.target for fit in found.fits})
    refitter = _Refitter(student, Walk(student, batches, leader=teacher_walk), teacher_walk, ridge)
    errors = {graph.layer_name(fit.layer): refitter.refit(fit) for fit in found.fits}
    samples = sum(len(batch) for batch in batches)
    return pruned.replace(student), Reconstruction(samples, errors, found.left)


class _Refitter:
    """Walks both networks from layer to layer and gives the pruned one's, in `student`, fitted constants."""

    def __init__(self, student: GraphModule, student_walk: Walk, teacher_walk: Walk, ridge: float) -> None:
        self.student, self.student_walk, self.teacher_walk = student, student_walk, teacher_walk
        self.ridge = ridge
        self.generator = torch.Generator().manual_seed(0)

    def refit(self, fit: Fit) -> tuple[float, float]:
        """Fit one layer, which none before in the order of execution may follow; the error before and after."""
        self.student_walk.before(fit.layer)
        self.teacher_walk.through(fit.target)
        weight, bias = self._constant(graph.weight_node(fit.layer)), self._constant(fit.bias)
        assert weight is not None, "a layer to fit has a stored weight"
        norm = None if fit.norm is None else Norm.read(self.student, fit.norm)
        groups = graph.arguments(fit.layer).get("groups", 1)
        old = weight.double().reshape(groups, len(weight) // groups, -1).mT
        system = LeastSquares(*old.shape, has_intercept=bias is not None or norm is not None)
        self._observe(fit, norm, system, weight.shape[2:])
        new = system.solve(old, self.ridge)
        self._store(graph.weight_node(fit.layer), new.mT.reshape(weight.shape))
        mean, target_mean = system.mean(new).flatten(), system.target_mean.flatten()
        if norm is not None:
            made = mean if bias is None else mean + bias.double()
            norm.follow(self.student, made, system.variance(new).flatten(), target_mean)
        elif bias is not None:
            self._store(fit.bias, target_mean - mean)
        self.teacher_walk.release(fit.target)
        return system.error(old), system.error(new)

    def _observe(self, fit: Fit, norm: Norm | None, system: LeastSquares, kernel: torch.Size) -> None:
        """Give `system` what the layer reads and what it should give, at sampled positions of all batches."""
        inputs = self.student_walk.values(graph.arguments(fit.layer)["input"])
        wanted = rows_wanted(system)
        for number, read in enumerate(inputs):
            target = self._target(fit, norm, number)
            places = sampled_places(fit.layer, target, -(-wanted // len(inputs)), self.generator)
            add_rows(system, fit.layer, kernel, read, target, places)

    def _target(self, fit: Fit, norm: Norm | None, batch: int) -> torch.Tensor:
        """What the layer should give for one batch of samples."""
        axis = -1 if fit.layer.target is graph.aten.linear.default else 1
        wanted = self.teacher_walk.values(fit.target)[batch]
        wanted = wanted.index_select(axis, torch.from_numpy(fit.outputs))
        if fit.other is None:
            return wanted
        wanted = wanted - self.student_walk.values(fit.other)[batch]
        return wanted if norm is None else norm.undone(wanted.double(), axis)

    def _constant(self, node: Node | None) -> torch.Tensor | None:
        value = graph.constant(self.student, node)
        return None if value is None else value.detach()

    def _store(self, node: Node | None, value: torch.Tensor) -> None:
        old = self._constant(node)
        assert node is not None
        assert old is not None
        graph.set_constant(self.student, str(node.target), value.to(old.dtype))
