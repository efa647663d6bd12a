"""Labels every channel of every tensor and finds which channels can only be removed together.

Each channel that a layer makes gets a label of its own, and the labels are carried through every
operator (rules.py says how). Where two channels meet, in a sum or a depthwise layer,
their labels are tied; what cannot lose channels freezes the labels that reach it, with the reason. The
classes of tied labels are what pruning removes. The idea of grouping dependent channels is DepGraph's
(Fang et al., 2023); labels instead of layer-to-layer dependencies keep every tie as fine as it really is.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Literal, TypeVar

import numpy as np
from torch.fx import GraphModule, Node

from edgepress import graph


@dataclass(frozen=True, eq=False)
class Channels:
    """The one axis of a tensor that can shrink, and the label of each of its entries (int64, 1-D).

    The size of the axis may be a multiple of the batch, as where attention folds its heads into it: the
    labels are those of one sample.
    """

    axis: int
    labels: np.ndarray


class Flow(Enum):
    """What a node asks of the order of its input channels, and what it makes of it."""

    MAKES = "takes any order; its own channels are new and may have any order"
    KEEPS = "takes any order, the same for all inputs, and hands it on"
    MOVES = "only selects, joins or permutes channels: is worked out anew wherever its result is read"
    FIXED = "needs its channels in their old order and gives them so"


Parts = Literal["auto", "whole", "within", "apart"]
"""How the parts that channels are divided into, as heads and groups, lose channels: whole parts go, or the same places
within every part. auto: heads whole; groups whole where there are many, otherwise within. apart: as auto, but a
convolution's groups are convolutions of their own (see apart.py)."""


@dataclass(frozen=True)
class Split:
    """A node that divides its channels into parts, and in how many `ways` those can lose some. The labels follow
    the way at `chosen`: along any other they are tied."""

    ways: int
    chosen: int


@dataclass(frozen=True, eq=False)
class Product:
    """Multiply-accumulates of one matrix product of activations: `factor` for every combination of the entries
    of these label arrays."""

    factor: int
    labels: tuple[np.ndarray, ...]


Side = Literal["input", "output", "own"]
Way = TypeVar("Way")


@dataclass(frozen=True, eq=False)
class Binding:
    """One axis of a stored tensor follows `labels`: those of the node's input, of its output, or, on its
    own, whatever of them is kept in the old order."""

    node: Node
    constant: Node
    axis: int
    labels: np.ndarray
    side: Side

    @property
    def name(self) -> str:
        """The stored tensor's name in the user's model."""
        return str(self.constant.target)


@dataclass(eq=False)
class Labelling:
    """The labelled graph. `classes[label]` is the class of a label; `reasons` has the frozen classes."""

    graph_module: GraphModule
    channels: dict[Node, Channels | None] = field(default_factory=dict)
    flows: dict[Node, Flow] = field(default_factory=dict)
    sources: dict[Node, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    """Of a node that MOVES: for each channel the index (in `nodes`) of the node that made it, and its place there."""
    nodes: list[Node] = field(default_factory=list)
    bindings: list[Binding] = field(default_factory=list)
    splits: dict[Node, Split] = field(default_factory=dict)
    products: list[Product] = field(default_factory=list)
    classes: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    reasons: dict[int, str] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """How many classes there are."""
        return int(self.classes.max()) + 1 if len(self.classes) else 0

    def classes_of(self, node: Node) -> np.ndarray:
        """The class of each channel of a node that has channels."""
        channels = self.channels[node]
        assert channels is not None
        classes: np.ndarray = self.classes[channels.labels]
        return classes


class Labeller:
    """Collects labels, ties and freezes while the rules walk the graph, and resolves them in the end.

    `choices` says of nodes that divide channels into parts which way is taken (see Split), by their order for `parts`.
    """

    def __init__(self, graph_module: GraphModule, choices: Mapping[Node, int], parts: Parts = "auto") -> None:
        self.result, self.parts = Labelling(graph_module), parts
        self._choices = choices
        self._size = 0
        self._ties: list[tuple[np.ndarray, np.ndarray]] = []
        self._frozen: list[tuple[np.ndarray, str]] = []
        self._bound: dict[tuple[str | Node, int], list[Binding]] = defaultdict(list)

    def channels(self, node: object) -> Channels | None:
        return self.result.channels.get(node) if isinstance(node, Node) else None

    def choose(self, node: Node, ways: Sequence[Way]) -> Way:
        """Which of these ways, the preferred one first, the parts lose channels into which `node` divides them."""
        chosen = self._choices.get(node, 0)
        if len(ways) > 1:
            self.result.splits[node] = Split(len(ways), chosen)
        return ways[chosen]

    def fresh(self, count: int) -> np.ndarray:
        self._size += count
        return np.arange(self._size - count, self._size)

    def tie(self, first: np.ndarray, second: np.ndarray) -> None:
        self._ties.append((first.ravel(), second.ravel()))

    def freeze(self, labels: np.ndarray, reason: str) -> None:
        self._frozen.append((labels.ravel(), reason))

    def bind(self, node: Node, constant: Node, axis: int, labels: np.ndarray, side: Side) -> None:
        """Let `axis` of a stored tensor, or of what is rearranged from one, follow `labels`.

        Another use of the same tensor must agree.
        """
        name = str(constant.target) if constant.op == "get_attr" else constant
        earlier = self._bound[name, axis]
        if earlier:
            self.tie(earlier[0].labels, labels)
        binding = Binding(node, constant, axis, labels, side)
        earlier.append(binding)
        if constant.op == "get_attr":
            self.result.bindings.append(binding)

    def set(self, node: Node, channels: Channels | None, flow: Flow) -> None:
        self.result.channels[node] = channels
        self.result.flows[node] = flow

    def move(self, node: Node, axis: int, parts: list[tuple[Node, np.ndarray]]) -> None:
        """`node` is made of these channels (node, places) along `axis`, one part after the other."""
        found = [self._sources(source, places) for source, places in parts]
        labels = np.concatenate([self._labels(source)[places] for source, places in parts])
        self.set(node, Channels(axis, labels), Flow.MOVES)
        self.result.sources[node] = (
            np.concatenate([source for source, _ in found]),
            np.concatenate([places for _, places in found]),
        )

    def resolve(self) -> Labelling:
        """The finished labelling: classes numbered from 0, and why the frozen ones are frozen."""
        self._freeze_half_bound()
        first = np.concatenate([tie[0] for tie in self._ties] or [np.zeros(0, np.int64)])
        second = np.concatenate([tie[1] for tie in self._ties] or [np.zeros(0, np.int64)])
        roots = connected(self._size, first, second)
        _, self.result.classes = np.unique(roots, return_inverse=True)
        for labels, reason in self._frozen:
            for number in np.unique(self.result.classes[labels]).tolist():
                self.result.reasons.setdefault(number, reason)
        self._freeze_lone_classes()
        return self.result

    def _labels(self, node: Node) -> np.ndarray:
        channels = self.channels(node)
        assert channels is not None
        return channels.labels

    def _sources(self, node: Node, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if node in self.result.sources:
            sources, at = self.result.sources[node]
            return sources[places], at[places]
        if node not in self.result.nodes:
            self.result.nodes.append(node)
        return np.full(len(places), self.result.nodes.index(node)), places

    def _freeze_half_bound(self) -> None:
        """A stored tensor can only shrink along an axis when every node that reads it lets it."""
        readers: dict[str | Node, list[Node]] = defaultdict(list)
        for node in self.result.graph_module.graph.nodes:
            readers[str(node.target) if node.op == "get_attr" else node] += node.users
        for (constant, _), bindings in self._bound.items():
            others = [
                reader for reader in readers[constant] if all(reader is not use.node for use in bindings)
            ]
            if others:
                reason = f"its stored tensor {constant} is also used by {graph.layer_name(others[0])}"
                self.freeze(bindings[0].labels, reason)

    def _freeze_lone_classes(self) -> None:
        """What is one class from end to end could only go as a whole, and something has to stay."""
        result = self.result
        axes = [binding.labels for binding in result.bindings]
        axes += [channels.labels for channels in result.channels.values() if channels is not None]
        for labels in axes:
            classes = result.classes[labels]
            if len(classes) and (classes == classes[0]).all():
                reason = (
                    "it has one channel" if len(classes) == 1 else "its channels can only go all together"
                )
                result.reasons.setdefault(int(classes[0]), reason)


def connected(count: int, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The smallest member of the component of each of `count` items, where first[i] and second[i] are joined."""
    root = np.arange(count)
    while True:
        low = np.minimum(root[first], root[second])
        before = root.copy()
        np.minimum.at(root, root[first], low)
        np.minimum.at(root, root[second], low)
        while not np.array_equal(root, root[root]):
            root = root[root]
        if np.array_equal(root, before):
            return root
