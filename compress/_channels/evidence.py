"""Runs a labelled network over data and gathers, batch by batch, what criteria look at: gradients, activations, gates.

Memory is bounded by one batch: nothing is kept of it when the next one begins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch.fx import Interpreter, Node

from edgepress import graph
from edgepress.compress._channels.group import Evidence
from edgepress.compress._channels.labels import Flow, Labelling
from edgepress.compress._training.classification import first_output
from edgepress.data import Batch

Loss = Callable[[torch.Tensor, Batch], torch.Tensor]
"""From the network's first output and the batch to the mean loss of its samples."""


@dataclass(frozen=True, eq=False)
class Seen:
    """What one batch of `samples` shows: `gradients` by the name of the stored tensor, or `channels`, which is
    samples x classes of the labelling."""

    samples: int
    gradients: Mapping[str, np.ndarray] = field(default_factory=dict)
    channels: np.ndarray | None = None


def observe(labelling: Labelling, evidence: Evidence, batches: Iterable[Batch], loss: Loss) -> Iterator[Seen]:
    """What each batch shows of the labelled graph, which stays as it is."""
    see = {"gradients": _gradients, "activations": _activations, "gates": _gates}[evidence]
    for batch in batches:
        yield see(labelling, batch, loss)


def _gradients(labelling: Labelling, batch: Batch, loss: Loss) -> Seen:
    module = labelling.graph_module
    module.zero_grad()
    with torch.enable_grad():
        _backward(loss(first_output(module(*_tensors(batch))), batch))
    named = {name: parameter.grad for name, parameter in module.named_parameters()}
    return Seen(len(batch), {name: grad.numpy() for name, grad in named.items() if grad is not None})


def _activations(labelling: Labelling, batch: Batch, loss: Loss) -> Seen:
    sums = _ClassSums(labelling, len(batch))

    def add(source: Node, value: torch.Tensor) -> torch.Tensor:
        sums.add(source, value.abs(), is_mean=True)
        return value

    with torch.no_grad():
        _Reading(labelling, add).run(*_tensors(batch))
    return Seen(len(batch), channels=sums.total.numpy())


def _gates(labelling: Labelling, batch: Batch, loss: Loss) -> Seen:
    """A gate's derivative is what is read times its gradient; nothing has to be multiplied on the way."""
    sums = _ClassSums(labelling, len(batch))

    def gated(source: Node, value: torch.Tensor) -> torch.Tensor:
        read = value.view_as(value) if value.requires_grad else value.detach().requires_grad_()
        held = value.detach()
        read.register_hook(lambda gradient: sums.add(source, held * gradient))
        return read

    with torch.enable_grad():
        output = first_output(_Reading(labelling, gated).run(*_tensors(batch)))
        _backward(loss(output, batch) * len(batch))
    return Seen(len(batch), channels=sums.total.numpy())


class _Reading(Interpreter):
    """Runs the graph and lets `watch` see, and replace, labelled channels wherever they are read."""

    def __init__(self, labelling: Labelling, watch: Callable[[Node, torch.Tensor], torch.Tensor]) -> None:
        super().__init__(labelling.graph_module)
        self.labelling, self.watch = labelling, watch

    def get_attr(self, target: Any, args: Any, kwargs: Any) -> Any:
        return super().get_attr(target, args, kwargs).detach()

    def run_node(self, n: Node) -> Any:
        held = {source: self.env[source] for source in n.all_input_nodes if self._reads(n, source)}
        self.env.update({source: self.watch(source, value) for source, value in held.items()})
        try:
            return super().run_node(n)
        finally:
            self.env.update(held)

    def _reads(self, node: Node, source: Node) -> bool:
        """Whether the channels of `source` end here: by weights, or in a product as that of query and key."""
        labelling, size = self.labelling, isinstance(node.meta.get("val"), int | torch.SymInt)
        if labelling.channels.get(source) is None or node.op != "call_function" or size:
            return False
        if node.target in graph.WEIGHTED:
            return labelling.flows[node] is not Flow.KEEPS
        if labelling.flows[node] is Flow.MOVES or labelling.channels.get(node) is None:
            return labelling.flows[node] is not Flow.MOVES
        return not np.isin(labelling.classes_of(source), labelling.classes_of(node)).all()


class _ClassSums:
    """`total`, samples x classes: the sum over everything that was added of each class."""

    def __init__(self, labelling: Labelling, samples: int) -> None:
        self.labelling = labelling
        self.total = torch.zeros(samples, labelling.count)

    def add(self, source: Node, values: torch.Tensor, is_mean: bool = False) -> None:
        """Add `values`, of the shape of `source`, over all positions: their mean over those of a class, or their sum."""
        channels, samples = self.labelling.channels[source], len(self.total)
        assert channels is not None
        axes = [axis for axis, size in enumerate(graph.shape(source)) if size is None]
        if axes:
            rows = values.movedim((axes[0], channels.axis), (0, 1))
        else:  # made of constants alone: every sample has its part in it
            rows = (values / samples).movedim(channels.axis, 0).unsqueeze(0).repeat_interleave(samples, 0)
        sums = rows.reshape(samples, -1, rows.shape[1], rows[0, 0].numel()).sum((1, 3))
        classes = torch.from_numpy(self.labelling.classes_of(source))
        if is_mean:
            counts = torch.bincount(classes)[classes]
            sums = sums * len(classes) * samples / (values.numel() * counts)
        self.total.index_add_(1, classes, sums.float())


def _tensors(batch: Batch) -> list[torch.Tensor]:
    return [torch.from_numpy(array) for array in batch.inputs]


def _backward(loss: torch.Tensor) -> None:
    """Nothing comes back where the first output does not depend on what could be removed."""
    if loss.requires_grad:
        loss.backward()
