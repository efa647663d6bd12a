"""Measures the mean and variance of every batch-norm anew, for a network whose channels have changed."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch.fx import GraphModule, Interpreter, Node

from edgepress import graph
from edgepress.data import Batch
from edgepress.graph import aten
from edgepress.program import Program


def is_needed(program: Program) -> bool:
    """Whether the network has a batch-norm with running statistics."""
    return any(_keeps_statistics(node) for node in program.exported.graph.nodes)


def norm_behind(layer: Node) -> Node | None:
    """The batch-norm that alone reads a layer."""
    readers = list(layer.users)
    return readers[0] if len(readers) == 1 and readers[0].target is aten.batch_norm.default else None


def reestimated(program: Program, batches: Iterable[Batch]) -> Program:
    """The program with running means and variances as they are over `batches`; no labels are needed.

    As Li et al. (2020, EagleEye) do before they compare pruned networks. Every batch-norm normalises
    with the statistics of the batch while they are measured, so that those behind see what training
    would show them.
    """
    graph_module = program.graph_module()
    reestimate(graph_module, batches)
    return program.replace(graph_module)


def reestimate(graph_module: GraphModule, batches: Iterable[Batch]) -> None:
    """The same for a graph that is being edited, in place."""
    meter = _Meter(graph_module)
    with torch.no_grad():
        for batch in batches:
            meter.run(*(torch.from_numpy(array) for array in batch.inputs))
    for names, (count, mean, square) in meter.sums.items():
        variance = (square / count - (mean / count).square()).clamp_min(0)
        for name, value in zip(names, (mean / count, variance), strict=True):
            graph.set_constant(graph_module, name, value.float())


class _Meter(Interpreter):
    """Runs the graph and sums what every batch-norm reads, and its square.

    `sums` has them under the names of its statistics: a batch-norm that is called twice has one pair of them.
    """

    def __init__(self, graph_module: GraphModule) -> None:
        super().__init__(graph_module)
        self.sums: dict[tuple[str, str], tuple[int, torch.Tensor, torch.Tensor]] = {}

    def run_node(self, node: Node) -> object:
        if not _keeps_statistics(node):
            return super().run_node(node)
        (value, weight, bias, *_, momentum, eps, _), _ = self.fetch_args_kwargs_from_env(node)
        # The kernel tells the statistics it normalises with: measuring them apart would take as long again.
        normalised, mean, scale = aten.native_batch_norm.default(
            value, weight, bias, None, None, True, momentum, eps
        )
        self._add(node, value.numel() // value.shape[1], mean.double(), scale.double().pow(-2) - eps)
        return normalised

    def _add(self, node: Node, size: int, mean: torch.Tensor, variance: torch.Tensor) -> None:
        stored = graph.arguments(node)
        names = (str(stored["running_mean"].target), str(stored["running_var"].target))
        count, means, squares = self.sums.get(names, (0, torch.zeros(()), torch.zeros(())))
        square = variance + mean.square()
        self.sums[names] = (count + size, means + size * mean, squares + size * square)


def _keeps_statistics(node: Node) -> bool:
    return node.target is aten.batch_norm.default and graph.arguments(node)["running_mean"] is not None
