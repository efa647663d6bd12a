"""What channel pruning can decide about a network: its layers, the groups of removable channels, and what a choice costs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from torch.fx import Node

from edgepress import cost, graph
from edgepress.compress._channels.apart import prepared
from edgepress.compress._channels.labels import Binding, Labelling, Parts
from edgepress.compress._channels.layers import Layer, layers_of
from edgepress.compress._channels.nodes import RECURRENT, shape_at_batch_one
from edgepress.compress._channels.normalise import normalise
from edgepress.compress._channels.rules import label
from edgepress.errors import UnsupportedModel
from edgepress.program import Program
from edgepress.response_norm import neighbours_as_layers

Term = tuple[int, tuple[int, ...]]
"""A factor, and the axes (rows of `Structure.members`) whose counts multiply it."""


@dataclass(frozen=True, eq=False)
class Amount:
    """A cost as a function of how many entries of each axis stay: before + the change of a sum of products.

    Term t is factors[t] times the counts of the axes in row t of `axes`; -1 stands for no axis.
    """

    before: int
    whole: np.ndarray
    factors: np.ndarray
    axes: np.ndarray

    def __call__(self, counts: np.ndarray) -> float:
        """The cost when `counts[axis]` entries stay."""
        change = self._chosen(counts).prod(1) - self._chosen(self.whole).prod(1)
        return float(self.before + self.factors @ change)

    def slopes(self, counts: np.ndarray) -> np.ndarray:
        """How much the cost grows with one more entry on each axis."""
        chosen = self._chosen(counts)
        slopes = np.zeros(len(counts) + 1)
        for column in range(self.axes.shape[1]):
            others = np.delete(chosen, column, axis=1).prod(1)
            np.add.at(slopes, self.axes[:, column], self.factors * others)
        return slopes[:-1]

    def _chosen(self, counts: np.ndarray) -> np.ndarray:
        chosen: np.ndarray = np.append(counts, 1).astype(np.float64)[self.axes]
        return chosen


@dataclass(frozen=True, eq=False)
class Structure:
    """A network labelled for `parts`. `members[axis, class]`: how often the class occurs on that axis of a tensor.

    `macs`, `parameters` and `weight_bytes` are equal to what edgepress.cost measures on the rewritten network;
    only the constant orders of channel shuffles (8 bytes a channel) may come or go besides. `given_macs` are those
    of the network as it was; before anything goes, `macs` has in addition what its form for pruning adds.
    """

    labelling: Labelling
    parts: Parts
    layers: tuple[Layer, ...]
    members: np.ndarray
    axis_of: dict[bytes, int]
    given_macs: int
    macs: Amount
    parameters: Amount
    weight_bytes: Amount

    def axis(self, classes: np.ndarray) -> int:
        """The row of `members` for an axis whose entries have these classes."""
        return self.axis_of[classes.tobytes()]

    def makers_of(self, number: int) -> list[Layer]:
        """The layers that make the channels of a class, and do not only pass them on one by one."""
        return [
            layer
            for layer in self.layers
            if layer.makes_channels and layer.outputs is not None and number in layer.outputs
        ]

    def places(self, number: int) -> int:
        """How many channels go with a class at least from each layer that makes or reads it: a head is several."""
        axes = [axis for layer in self.layers for axis in (layer.outputs, layer.inputs) if axis is not None]
        return min(count for axis in axes if (count := int((axis == number).sum())))

    def counts(self, kept: np.ndarray) -> np.ndarray:
        """How many entries of each axis stay when the classes in `kept` (bool) stay."""
        counts: np.ndarray = self.members @ kept.astype(self.members.dtype)
        return counts


def read_structure(program: Program, parts: Parts = "auto") -> Structure:
    """Label `program`; raises UnsupportedModel for a quantized one and a graph that cannot be labelled safely."""
    if program.quantized is not None:
        raise UnsupportedModel("A quantized network cannot be pruned.", hint="prune first, then quantize")
    program = prepared(program, parts)
    graph_module = program.graph_module()
    given = before = cost.measure(graph_module)
    if neighbours_as_layers(graph_module):
        before = cost.measure(graph_module)
    normalise(graph_module)
    labelling = label(graph_module, parts)
    axis_of = {classes.tobytes(): number for number, classes in enumerate(_distinct(_axes(labelling)))}
    members = np.zeros((len(axis_of), labelling.count), np.int32)
    for data, number in axis_of.items():
        members[number, :] = np.bincount(np.frombuffer(data, np.int64), minlength=labelling.count)
    whole = members.sum(1)
    stored = _stored_tensors(labelling, axis_of)
    owned = {name for name, _ in labelling.graph_module.named_parameters()}
    return Structure(
        labelling=labelling,
        parts=parts,
        layers=tuple(layers_of(labelling)),
        members=members,
        axis_of=axis_of,
        given_macs=given.macs,
        macs=_amount(before.macs, whole, list(_products(labelling, stored, axis_of))),
        parameters=_amount(before.parameters, whole, [stored[name] for name in stored if name in owned]),
        weight_bytes=_amount(before.weight_bytes, whole, list(_in_bytes(labelling, stored))),
    )


def bundles_of_classes(structure: Structure) -> list[np.ndarray]:
    """The classes that can go, those with the same makers together: whose counts are worth rounding."""
    makers = np.zeros((len(structure.layers), structure.labelling.count), bool)
    for number, layer in enumerate(structure.layers):
        if layer.makes_channels and layer.outputs is not None:
            makers[number, layer.outputs] = True
    is_free = np.asarray(makers.any(0))
    is_free[list(structure.labelling.reasons)] = False
    free = np.flatnonzero(is_free)
    marks = np.random.default_rng(0).integers(1, 2**40, len(makers)) @ makers[:, free].astype(np.int64)
    found = [free[marks == mark] for mark in np.unique(marks)]
    return sorted(found, key=lambda classes: int(classes[0]))


def _amount(before: int, whole: np.ndarray, terms: list[Term]) -> Amount:
    width = max((len(axes) for _, axes in terms), default=1)
    axes = np.full((len(terms), width), -1)
    for number, (_, present) in enumerate(terms):
        axes[number, : len(present)] = present
    return Amount(before, whole, np.array([factor for factor, _ in terms], np.float64), axes)


def _axes(labelling: Labelling) -> Iterator[np.ndarray]:
    for binding in labelling.bindings:
        yield labelling.classes[binding.labels]
    for node, channels in labelling.channels.items():
        if channels is not None:
            yield labelling.classes_of(node)


def _distinct(arrays: Iterator[np.ndarray]) -> list[np.ndarray]:
    return list({array.tobytes(): array for array in arrays}.values())


def _by_tensor(labelling: Labelling) -> dict[str, dict[int, Binding]]:
    """The bindings of each stored tensor by axis; tied uses bind the same classes."""
    found: dict[str, dict[int, Binding]] = {}
    for binding in labelling.bindings:
        found.setdefault(binding.name, {}).setdefault(binding.axis, binding)
    return found


def _stored_tensors(labelling: Labelling, axis_of: dict[bytes, int]) -> dict[str, Term]:
    """The size of each stored tensor that can shrink: the axes that can, and the product of the others."""
    tensors = {}
    for name, bindings in _by_tensor(labelling).items():
        shape = shape_at_batch_one(next(iter(bindings.values())).constant)
        rest = math.prod(size for axis, size in enumerate(shape) if axis not in bindings)
        axes = (axis_of[labelling.classes[binding.labels].tobytes()] for binding in bindings.values())
        tensors[name] = (rest, tuple(axes))
    return tensors


def _in_bytes(labelling: Labelling, stored: dict[str, Term]) -> Iterator[Term]:
    """The bytes of each stored tensor."""
    tensors = [*labelling.graph_module.named_parameters(), *labelling.graph_module.named_buffers()]
    for name, tensor in tensors:
        if name in stored:
            factor, axes = stored[name]
            yield factor * tensor.element_size(), axes


def _products(labelling: Labelling, stored: dict[str, Term], axis_of: dict[bytes, int]) -> Iterator[Term]:
    """The multiply-accumulates of each convolution, linear and recurrent layer (its weights, times how often those are
    used), and of the products of activations."""
    for node in graph.operators(labelling.graph_module):
        yield from _recurrent_products(node, stored)
        weight = graph.weight_node(node) if node.target in graph.WEIGHTED else None
        if weight is None or str(weight.target) not in stored:
            continue
        if node.target is graph.aten.linear.default:
            uses = math.prod(shape_at_batch_one(node)[:-1])
        else:
            spread = graph.arguments(node)["input"] if "transpose" in graph.op_name(node) else node
            uses = math.prod(shape_at_batch_one(spread)[2 - len(shape_at_batch_one(weight)) :])
        factor, axes = stored[str(weight.target)]
        yield uses * factor, axes
    for product in labelling.products:
        yield (
            product.factor,
            tuple(axis_of[labelling.classes[labels].tobytes()] for labels in product.labels),
        )


def _recurrent_products(node: Node, stored: dict[str, Term]) -> Iterator[Term]:
    """Of a recurrent layer over all steps: what its input's matrices take."""
    arguments = graph.arguments(node) if graph.op_name(node) in RECURRENT else {}
    for weight in arguments.get("params", ()):
        if str(weight.target) in stored and len(shape_at_batch_one(weight)) == 2:
            factor, axes = stored[str(weight.target)]
            yield factor * math.prod(shape_at_batch_one(arguments["input"])[:-1]), axes
