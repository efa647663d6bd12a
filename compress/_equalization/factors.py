"""Finds a factor for every channel and puts it into the weights that make and read the channel."""

from __future__ import annotations

import operator
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch.fx import GraphModule, Node

from edgepress import graph
from edgepress.compress._channels.labels import connected
from edgepress.compress._channels.normalise import normalise
from edgepress.compress._equalization.homogeneous import Scalable, scalable
from edgepress.compress._quantization.calibration import observe
from edgepress.data import Batch
from edgepress.signature import Signature

LARGEST_FACTOR = 1024.0
"""And one over it the smallest: a channel that is next to never alive does not become a loud one."""


@dataclass(frozen=True)
class Equalized:
    """How many classes of channels there are, how many got a factor, the largest, and of each layer none of whose
    channels did, why."""

    channels: int
    equalized: int
    largest_factor: float
    reasons: dict[str, str]


def equalize(
    graph_module: GraphModule, signature: Signature, batches: Iterable[Batch] | None, strength: float
) -> Equalized:
    """Scale the stored tensors in place. With `batches`, channels are as large as their largest value there; without,
    as the weights that make them."""
    normalised = graph.copied(graph_module)
    normalise(normalised)
    found = scalable(normalised)
    made = _made_by_weights(found) if batches is None else _made_by_samples(found, signature, batches)
    factors = _factors(found, made, _read_by_weights(found), strength)
    _scale(graph_module, found, factors)
    changed = factors != 1
    largest = float(np.maximum(factors, 1 / factors).max(initial=1.0))
    return Equalized(len(factors), int(changed.sum()), largest, _reasons(found, changed))


class _LargestOfChannels:
    """The largest magnitude of each entry along one axis."""

    def __init__(self, axis: int) -> None:
        self._axis = axis
        self.values = np.zeros(0)

    def update(self, values: torch.Tensor) -> None:
        found = values.movedim(self._axis, 0).flatten(1).abs().amax(1).double().numpy()
        self.values = np.maximum(self.values, found) if len(self.values) else found


def _made_by_samples(found: Scalable, signature: Signature, batches: Iterable[Batch]) -> np.ndarray:
    """For each class its largest value in what a layer reads."""
    labelling, watchers = found.labelling, {}
    for layer in _layers(found):
        source = graph.arguments(layer)["input"]
        channels = labelling.channels.get(source)
        if channels is not None:
            watchers[source] = _LargestOfChannels(channels.axis)
    observe(
        labelling.graph_module, {node: [watcher] for node, watcher in watchers.items()}, batches, signature
    )
    largest = np.zeros(labelling.count)
    for node, watcher in watchers.items():
        np.maximum.at(largest, labelling.classes_of(node), watcher.values)
    return largest


def _made_by_weights(found: Scalable) -> np.ndarray:
    """For each class the largest weight of the layers that make it."""
    largest = np.zeros(found.labelling.count)
    for layer in _layers(found):
        if found.labelling.channels.get(layer) is not None:
            weight = _weight(found, layer)
            axis = 1 if "transpose" in graph.op_name(layer) and layer not in found.depthwise else 0
            rows = weight.movedim(axis, 0).flatten(1).abs().amax(1)
            np.maximum.at(largest, found.labelling.classes_of(layer), rows.numpy())
    return largest


def _read_by_weights(found: Scalable) -> np.ndarray:
    """For each class the largest weight that reads it, as a share of the largest of that output's: the weights of each
    output have a scale of their own. A depthwise layer's outputs read one channel each: all of it."""
    largest = np.zeros(found.labelling.count)
    for layer in found.depthwise:
        source = graph.arguments(layer)["input"]
        if found.labelling.channels.get(source) is not None:
            np.maximum.at(largest, found.labelling.classes_of(source), 1.0)
    for binding in found.labelling.bindings:
        if binding.side == "input":
            weight = _weight(found, binding.node).movedim(binding.axis, 0)
            shares = weight / weight.abs().amax((0, *range(2, weight.dim())), keepdim=True).clamp(min=1e-30)
            columns = shares.flatten(1).abs().amax(1).numpy()
            np.maximum.at(largest, found.labelling.classes[binding.labels], columns)
    return largest


def _factors(found: Scalable, made: np.ndarray, read: np.ndarray, strength: float) -> np.ndarray:
    """1 for what stays as it is. Of channels that are made together the factors are 1 in the geometric mean."""
    usable = found.free & (made > 0) & (read > 0)
    logs = np.zeros(len(made))
    logs[usable] = (1 - strength) * np.log(read[usable]) - strength * np.log(made[usable])
    joined = [
        np.unique(found.labelling.classes_of(layer)) for layer in _layers(found) if _is_labelled(found, layer)
    ]
    first = np.concatenate([np.full(len(one), one[0]) for one in joined] or [np.zeros(0, np.int64)])
    second = np.concatenate(joined or [np.zeros(0, np.int64)])
    roots = connected(len(made), first, second)
    for root in np.unique(roots[usable]).tolist():
        together = usable & (roots == root)
        logs[together] -= logs[together].mean()
    limit = np.log(LARGEST_FACTOR)
    factors: np.ndarray = np.exp(np.clip(logs, -limit, limit))
    return factors


def _scale(graph_module: GraphModule, found: Scalable, factors: np.ndarray) -> None:
    """Multiply every stored tensor along its labelled axes, in float64, and round once."""
    wanted: dict[str, list[tuple[int, np.ndarray]]] = defaultdict(list)
    for binding in found.labelling.bindings:
        if binding.node.target in graph.WEIGHTED and binding.side != "own":
            along = factors[found.labelling.classes[binding.labels]]
            wanted[binding.name].append((binding.axis, along if binding.side == "output" else 1 / along))
    for layer in found.depthwise:
        source = graph.arguments(layer)["input"]
        if _is_labelled(found, source) and _is_labelled(found, layer):
            classes = found.labelling.classes_of
            name = graph.weight_name(layer)
            wanted[name].append((0, factors[classes(layer)] / factors[classes(source)]))
    for name, scalings in wanted.items():
        stored: torch.Tensor = operator.attrgetter(name)(graph_module)
        value = stored.detach().double()
        for axis, along in scalings:
            value = value * torch.from_numpy(along).view([-1 if i == axis else 1 for i in range(value.dim())])
        graph.set_constant(graph_module, name, value.to(stored.dtype))


def _layers(found: Scalable) -> list[Node]:
    """The layers with a stored weight, in the order of execution."""
    return [
        node
        for node in graph.operators(found.labelling.graph_module)
        if node.target in graph.WEIGHTED
        and graph.constant(found.labelling.graph_module, graph.weight_node(node)) is not None
    ]


def _is_labelled(found: Scalable, node: Node) -> bool:
    return found.labelling.channels.get(node) is not None


def _weight(found: Scalable, layer: Node) -> torch.Tensor:
    weight = graph.constant(found.labelling.graph_module, graph.weight_node(layer))
    assert weight is not None, "_layers looks for it"
    return weight.detach().double()


def _reasons(found: Scalable, changed: np.ndarray) -> dict[str, str]:
    reasons = {}
    for layer in _layers(found):
        if _is_labelled(found, layer):
            classes = np.unique(found.labelling.classes_of(layer))
            if not changed[classes].any():
                given = next((found.reasons[one] for one in classes.tolist() if one in found.reasons), "")
                reasons[graph.layer_name(layer)] = given or "its channels are dead, or nothing reads them"
    return reasons
