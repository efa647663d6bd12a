"""Walks a network that is being compressed and the one that it was made from in step, and compares them layer by layer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

import torch
from torch.fx import GraphModule, Node

from edgepress import graph
from edgepress.compress._reconstruction.least_squares import LeastSquares
from edgepress.compress._reconstruction.rows import add_rows, rows_wanted, sampled_places
from edgepress.compress._reconstruction.walk import Walk, fitting, held_elements
from edgepress.data import Batch

HELD_BYTES = 384 << 20
"""Of both networks' activations, which wait for the next layer for all samples at once. Batches beyond it are not
used; the first always is."""


class SideBySide:
    """Both networks, over as many of `batches` as memory is given for."""

    def __init__(
        self,
        student: GraphModule,
        teacher: GraphModule,
        nodes: Sequence[Node],
        batches: Iterable[Batch],
        ends: Mapping[Node, Node] = MappingProxyType({}),
    ) -> None:
        """`nodes`, of the student, are the layers that will be looked at, in the order of execution, and `ends` the
        entries and exits that `around` will be asked for. The teacher's have the same names."""
        named = {node.name: node for node in teacher.graph.nodes}
        self.nodes = tuple(nodes)
        self._student = student
        self._originals = {node: named[node.name] for node in nodes}
        self._following = dict(zip(nodes, [named[node.name] for node in nodes[1:]], strict=False))
        held = held_elements(student, set(nodes)) + held_elements(teacher, set(self._originals.values()))
        taken = fitting(batches, held, HELD_BYTES)
        self._exits = {node: named[node.name] for node in ends.values()}
        self._leader = Walk(teacher, taken, pinned=self._exits.values())
        self._follower = Walk(student, taken, pinned=ends, leader=self._leader)
        self._lanes = list(zip(self._follower.lanes, self._leader.lanes, strict=True))
        self._generator = torch.Generator().manual_seed(0)

    def observe(self, node: Node, *, has_intercept: bool, rows: int = 1) -> LeastSquares:
        """What the layer reads in the student, and what it gives in the teacher: less its bias, unless that is to be
        found. `rows` is how many times the positions that a fit wants are looked at."""
        arguments = graph.arguments(node)
        weight = graph.constant(self._student, arguments["weight"])
        bias = graph.constant(self._student, arguments["bias"])
        assert weight is not None, "only layers with stored weights are fitted"
        groups = arguments.get("groups", 1)
        system = LeastSquares(groups, weight[0].numel(), len(weight) // groups, has_intercept=has_intercept)
        count = -(-rows * rows_wanted(system) // len(self._lanes))
        for student, teacher in self._lanes:
            student.before(node)
            teacher.through(self._originals[node])
            read, target = student.value(arguments["input"]), teacher.value(self._originals[node])
            if bias is not None and not has_intercept:
                target = target - bias.detach().view([-1] + [1] * (weight.dim() - 2))
            places = sampled_places(node, target, count, self._generator)
            add_rows(system, node, weight.shape[2:], read, target, places)
            if node in self._following:
                # What a lane holds in front of the next layer is smaller than what this one gave.
                teacher.before(self._following[node])
        return system

    def around(self, entry: Node, exit: Node) -> tuple[torch.Tensor, torch.Tensor]:
        """What the student has at `entry`, and the teacher at `exit`, of all samples. The student goes back to `entry`,
        where nothing else is to be read: what lies behind it has changed."""
        self._leader.through(self._exits[exit])
        wanted = torch.cat(self._leader.values(self._exits[exit]))
        self._leader.release(self._exits[exit])
        read = torch.cat(self._follower.values(entry))
        self._follower.back_to(entry)
        return read, wanted
