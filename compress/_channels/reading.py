"""Puts together what a node reads from the tensors in which its channels were made: slices, joined by one cat."""

from __future__ import annotations

import numpy as np
import torch
from torch.fx import Node

from edgepress.compress._channels.labels import Flow, Labelling
from edgepress.compress._channels.nodes import select_channels, succeed
from edgepress.graph import aten

SLICES_OF_ONE = 2
"""A tensor read in more runs than this is gathered by index instead: many thin slices cost more."""


class ChannelReader:
    """`orders[node]`: which old places of its channels the rewritten node holds, in their new order."""

    def __init__(self, labelling: Labelling, kept: np.ndarray) -> None:
        self.labelling, self.kept = labelling, kept
        self.orders: dict[Node, np.ndarray] = {}
        self._ranks = _reader_ranks(labelling)
        self._pieces: dict[tuple[Node, bytes], Node] = {}

    def is_labelled(self, node: Node) -> bool:
        return self.labelling.channels.get(node) is not None

    def size(self, node: Node) -> int:
        """How many channels the node had before; 0 when it has none that are labelled."""
        channels = self.labelling.channels.get(node)
        return 0 if channels is None else len(channels.labels)

    def ascending(self, node: Node) -> np.ndarray:
        """The kept places of a node's channels in their old order."""
        return np.flatnonzero(self.kept[self.labelling.classes_of(node)])

    def grouped_by_reader(self, node: Node) -> np.ndarray:
        """The kept places of a node's channels, those with the same readers side by side."""
        places = self.ascending(node)
        return places[np.argsort(self._ranks[self.labelling.classes_of(node)[places]], kind="stable")]

    def read(self, source: Node, reader: Node, wanted: np.ndarray | None = None) -> np.ndarray:
        """Let `reader` read the kept channels of `source`, in the order `wanted` where that is given.

        Returns the old places in the order in which they are read.
        """
        if self.labelling.flows[source] is not Flow.MOVES:
            return self._read_made(source, reader, wanted)
        makers, places = self._origins(source)
        cheapest = self._cheapest(source, makers, places)
        order = cheapest if wanted is None else wanted
        if wanted is not None and self._runs(makers[wanted], places[wanted]) > SLICES_OF_ONE * len(
            set(makers)
        ):
            order = cheapest
        joined = self._joined(source, reader, makers[order], places[order])
        if wanted is not None and order is not wanted:
            joined = self._selected(joined, source, _positions(order, wanted), reader)
        reader.replace_input_with(source, joined)
        return cheapest if wanted is None else wanted

    def _read_made(self, source: Node, reader: Node, wanted: np.ndarray | None) -> np.ndarray:
        order = self.orders[source]
        if wanted is None or np.array_equal(order, wanted):
            return order
        selected = self._selected(source, source, _positions(order, wanted), reader)
        reader.replace_input_with(source, selected)
        return wanted

    def _origins(self, source: Node) -> tuple[np.ndarray, np.ndarray]:
        """For each old channel of `source`: the index of its maker, and its place in the rewritten maker."""
        makers, old_places = self.labelling.sources[source]
        places = np.full(len(makers), -1)
        for maker in np.unique(makers).tolist():
            is_here = makers == maker
            order = self.orders[self.labelling.nodes[maker]]
            where = np.full(self.size(self.labelling.nodes[maker]), -1)
            where[order] = np.arange(len(order))
            places[is_here] = where[old_places[is_here]]
        return makers, places

    def _cheapest(self, source: Node, makers: np.ndarray, places: np.ndarray) -> np.ndarray:
        """The kept channels maker by maker, in the order in which the makers first appear."""
        kept = self.ascending(source)
        _, first, inverse = np.unique(makers[kept], return_index=True, return_inverse=True)
        return kept[np.lexsort((places[kept], first[inverse]))]

    @staticmethod
    def _runs(makers: np.ndarray, places: np.ndarray) -> int:
        return int(np.sum((np.diff(makers) != 0) | (np.diff(places) != 1))) + 1

    def _joined(self, source: Node, reader: Node, makers: np.ndarray, places: np.ndarray) -> Node:
        """A node that holds the channels at `places` of `makers`."""
        channels = self.labelling.channels[source]
        assert channels is not None
        starts = np.flatnonzero(np.diff(makers, prepend=-1) != 0)
        pieces = [
            piece
            for part, maker in zip(np.split(places, starts[1:]), makers[starts].tolist(), strict=True)
            for piece in self._pieces_of(self.labelling.nodes[maker], source, reader, part)
        ]
        if len(pieces) == 1:
            return pieces[0]
        with reader.graph.inserting_before(reader):
            joined = reader.graph.call_function(aten.cat.default, (pieces, channels.axis))
        succeed(joined, source)
        return joined

    def _pieces_of(self, maker: Node, source: Node, reader: Node, places: np.ndarray) -> list[Node]:
        if np.array_equal(places, np.arange(len(self.orders[maker]))):
            return [maker]
        runs = np.split(places, np.flatnonzero(np.diff(places) != 1) + 1)
        if len(runs) > SLICES_OF_ONE:
            return [self._selected(maker, source, places, reader)]
        return [self._sliced(maker, source, run, reader) for run in runs]

    def _sliced(self, maker: Node, source: Node, run: np.ndarray, reader: Node) -> Node:
        channels = self.labelling.channels[source]
        assert channels is not None
        key = (maker, run.tobytes())
        if key not in self._pieces:
            with reader.graph.inserting_before(reader):
                arguments = (maker, channels.axis, int(run[0]), int(run[-1]) + 1)
                self._pieces[key] = reader.graph.call_function(aten.slice.Tensor, arguments)
            succeed(self._pieces[key], source)
        return self._pieces[key]

    def _selected(self, tensor: Node, source: Node, places: np.ndarray, reader: Node) -> Node:
        channels = self.labelling.channels[source]
        assert channels is not None
        selected = select_channels(
            self.labelling.graph_module, tensor, channels.axis, torch.from_numpy(places), before=reader
        )
        succeed(selected, source)
        return selected


def _positions(order: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Where in `order` each of `wanted` stands."""
    sorter = np.argsort(order)
    return sorter[np.searchsorted(order, wanted, sorter=sorter)]


def _reader_ranks(labelling: Labelling) -> np.ndarray:
    """A number for each class, the same for classes that the same readers select."""
    readers = [
        node
        for node, flow in labelling.flows.items()
        if flow is Flow.MOVES and any(labelling.flows.get(user) is not Flow.MOVES for user in node.users)
    ]
    absent = np.ones((len(readers), labelling.count), bool)
    for row, node in zip(absent, readers, strict=True):
        row[labelling.classes_of(node)] = False
    if not readers:
        return np.zeros(labelling.count, np.int64)
    return np.unique(absent, axis=1, return_inverse=True)[1].ravel()
