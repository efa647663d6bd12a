"""The latency of a network as a function of its channel counts, from the latencies of single layers on a target.

A layer's latency is taken as bilinear in its input and output channels: a constant, a part for each
channel read, a part for each channel made, and a part for each pair (the multiplications). The parts are fitted to
the layer measured at a few counts, and none is negative, so noise never makes a smaller layer slower.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from torch.fx import Node

from edgepress import graph
from edgepress.compress._channels.labels import Flow, Labelling
from edgepress.compress._channels.nodes import shape_at_batch_one
from edgepress.compress._channels.structure import Amount, Structure
from edgepress.progress import Progress
from edgepress.stopwatch import LayerShape, Setting, Stopwatch

SMALLEST_SHARE = 4
"""Layers are measured whole and at a quarter of their channels, which pruning seldom goes below."""
LANE = 8
"""Counts that are measured are multiples of this where possible: others take other code in the runtimes."""
OPERANDS = ("input", "weight", "bias")


@dataclass(frozen=True, eq=False)
class _Scaled:
    """A layer whose channels can become fewer. `inputs` and `outputs` are axes of the structure, None where
    the count is fixed; a depthwise layer has no axis of inputs beside that of its outputs."""

    shape: LayerShape
    inputs: int | None
    outputs: int | None
    is_depthwise: bool


@dataclass(frozen=True, eq=False)
class RelativeLatency:
    """The latency over that of the original network, as a function of how many entries of each axis stay.

    `before` is the network's as it is, measured as a whole; what fewer channels save is what `layer_costs` says
    of the layers, which are timed alone: so it is told by differences, and not by sums.
    """

    before: float
    original_cost: float
    layer_costs: Amount

    def __call__(self, counts: np.ndarray) -> float:
        saved = self.layer_costs.before - self.layer_costs(counts)
        return self.before - saved / self.original_cost

    def slopes(self, counts: np.ndarray) -> np.ndarray:
        """How much it grows with one more entry on each axis."""
        slopes: np.ndarray = self.layer_costs.slopes(counts) / self.original_cost
        return slopes


Part = tuple[float, tuple[int, ...]]
"""A factor in the stopwatch's unit, and the one or two axes of the structure whose counts multiply it."""


def layer_costs(structure: Structure, stopwatch: Stopwatch, target: str, progress: Progress) -> Amount:
    """What the changeable part of the layers with weights costs at batch 1, in the unit of the stopwatch."""
    layers = list(_layers(structure))
    grids = [[_resized(layer, *counts) for counts in _grid(layer)] for layer in layers]
    shapes = list(dict.fromkeys(shape for grid in grids for shape in grid))
    measured = dict(zip(shapes, stopwatch.layer_costs(shapes, target, progress), strict=True))
    parts = [
        part
        for layer, grid in zip(layers, grids, strict=True)
        for part in _parts(layer, [measured[shape] for shape in grid])
    ]
    factors = np.array([factor for factor, _ in parts])
    axes = np.array([(*axes, -1)[:2] for _, axes in parts]).reshape(-1, 2)
    return Amount(0, structure.members.sum(1), factors, axes)


def _layers(structure: Structure) -> Iterator[_Scaled]:
    for node in graph.operators(structure.labelling.graph_module):
        weight = graph.weight_node(node) if node.target in graph.WEIGHTED else None
        if weight is None:
            continue
        inputs = _axis(structure, graph.arguments(node)["input"])
        outputs = _axis(structure, node)
        is_depthwise = structure.labelling.flows[node] is Flow.KEEPS
        if is_depthwise:
            inputs = None
        if inputs is not None or outputs is not None:
            yield _Scaled(_shape(node, weight), inputs, outputs, is_depthwise)


def _axis(structure: Structure, node: Node) -> int | None:
    """The axis of the node's channels; None where none of them can go."""
    labelling: Labelling = structure.labelling
    if labelling.channels.get(node) is None:
        return None
    classes = labelling.classes_of(node)
    is_fixed = np.isin(classes, list(labelling.reasons)).all()
    return None if is_fixed else structure.axis(classes)


def _shape(node: Node, weight: Node) -> LayerShape:
    arguments = graph.arguments(node)
    settings = tuple((name, _plain(value)) for name, value in arguments.items() if name not in OPERANDS)
    return LayerShape(
        operator=str(node.target),
        input=shape_at_batch_one(arguments["input"]),
        weight=shape_at_batch_one(weight),
        settings=settings,
    )


def _plain(value: object) -> Setting:
    if isinstance(value, (list, tuple)):
        return tuple(int(item) for item in value)
    assert value is None or isinstance(value, (int, str)), (
        "convolutions take numbers, texts and lists of numbers"
    )
    return value


def _channels(shape: LayerShape) -> tuple[int, int]:
    """(inputs, outputs) of a layer."""
    inputs = shape.input[-1 if "linear" in shape.operator else 1]
    is_transposed = "transpose" in shape.operator
    return inputs, shape.weight[1] * _groups(shape) if is_transposed else shape.weight[0]


def _groups(shape: LayerShape) -> int:
    groups = dict(shape.settings).get("groups", 1)
    assert isinstance(groups, int)
    return groups


def _grid(layer: _Scaled) -> list[tuple[int, int]]:
    """(inputs, outputs) at which the layer is measured, the whole layer first."""
    inputs, outputs = _channels(layer.shape)
    if layer.is_depthwise:
        return [(count, outputs * count // inputs) for count in (inputs, _fewer(inputs, 1))]
    groups = _groups(layer.shape)
    return list(
        itertools.product(
            (inputs,) if layer.inputs is None else (inputs, _fewer(inputs, groups)),
            (outputs,) if layer.outputs is None else (outputs, _fewer(outputs, groups)),
        )
    )


def _fewer(count: int, groups: int) -> int:
    """About a quarter of the channels: a multiple of the groups, and of LANE where there are as many."""
    least = max(count // SMALLEST_SHARE // LANE * LANE, min(LANE, count // 2), 1)
    return max(least // groups, 1) * groups


def _resized(layer: _Scaled, inputs: int, outputs: int) -> LayerShape:
    shape = layer.shape
    place = len(shape.input) - 1 if "linear" in shape.operator else 1
    groups = inputs if layer.is_depthwise else _groups(shape)
    settings = tuple((name, groups if name == "groups" else value) for name, value in shape.settings)
    wide, narrow = (
        (inputs, outputs // groups) if "transpose" in shape.operator else (outputs, inputs // groups)
    )
    return replace(
        shape,
        input=(*shape.input[:place], inputs, *shape.input[place + 1 :]),
        weight=(wide, narrow, *shape.weight[2:]),
        settings=settings,
    )


def _parts(layer: _Scaled, measured_ms: Sequence[float]) -> list[Part]:
    """The parts of the layer's latency that change with its channels."""
    inputs, outputs = _channels(layer.shape)
    whole = {layer.inputs: inputs, layer.outputs: outputs}
    axes = [axis for axis in (layer.inputs, layer.outputs) if axis is not None]
    both = [(axis,) for axis in axes] + ([tuple(axes)] if len(axes) == 2 else [])
    shares = np.array([(ins / inputs, outs / outputs) for ins, outs in _grid(layer)])
    columns = [shares[:, 0]] * (layer.inputs is not None) + [shares[:, 1]] * (layer.outputs is not None)
    if len(columns) == 2:
        columns.append(columns[0] * columns[1])
    parts = _nonnegative_fit(np.stack(columns, axis=1), np.asarray(measured_ms))
    return [
        (float(part) / float(np.prod([whole[axis] for axis in term])), term)
        for part, term in zip(parts, both, strict=True)
        if part
    ]


def _nonnegative_fit(columns: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The factors, none below zero, with which the columns and a constant come nearest to the values."""
    best, factors = np.inf, np.zeros(columns.shape[1])
    for size in range(columns.shape[1] + 1):
        for chosen in itertools.combinations(range(columns.shape[1]), size):
            used = np.column_stack([np.ones(len(values)), columns[:, chosen]])
            found, *_ = np.linalg.lstsq(used, values, rcond=None)
            error = float(((used @ found - values) ** 2).sum())
            if (found[1:] >= 0).all() and error < best * (1 - 1e-9):
                best, factors = error, np.zeros(columns.shape[1])
                factors[list(chosen)] = found[1:]
    return factors
