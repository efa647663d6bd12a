"""Which layers of an ONNX file each node of ONNX Runtime's optimised graph computes.

Read without the package `onnx`, which a device need not have: of the protocol buffer only what names and joins nodes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

GRAPH, NODE = 7, 1
INPUT, OUTPUT, NAME, OP_TYPE = 1, 2, 3, 4
"""The numbers of the fields of ONNX's ModelProto, GraphProto and NodeProto, which the format fixes for good."""
VARINT, EIGHT_BYTES, LENGTH, FOUR_BYTES = 0, 1, 2, 5
"""The wire types of protocol buffers."""

MOVES = {"ReorderInput", "ReorderOutput", "Transpose"}
"""What ONNX Runtime puts between kernels: the tensor behind bears a layer's name, whose work was done before."""
CHANGES_CODE = {"QuantizeLinear", "DequantizeLinear", "Constant"}
TAKEN_ALONG = {
    *("Add", "BatchNormalization", "Clip", "Elu", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "Mul"),
    *("PRelu", "Relu", "Sigmoid", "Tanh"),
}
"""What kernels of convolutions and products do on their results before they store them."""


@dataclass(frozen=True)
class Node:
    name: str
    type: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    @property
    def layer(self) -> str:
        """The user's name: the file's nodes are named `<layer>/<type>`. Empty for what belongs to none."""
        return "" if self.type in CHANGES_CODE else self.name.rpartition("/")[0]


def nodes(model: bytes) -> tuple[Node, ...]:
    """The nodes of an ONNX file's graph, in execution order."""
    return tuple(
        _node(message)
        for number, graph in _fields(memoryview(model))
        if number == GRAPH
        for field, message in _fields(graph)
        if field == NODE
    )


def fused_layers(file: Sequence[Node], executed: Sequence[Node]) -> Mapping[str, tuple[str, ...]]:
    """By the name of each executed node: the layers that it computes, in the order of the file."""
    owners = _Owners(file, executed).found()
    layers: dict[str, dict[str, None]] = {}
    for node in file:
        if node.layer and (owner := owners.get(node.name)):
            layers.setdefault(owner, {})[node.layer] = None
    return {name: tuple(found) for name, found in layers.items()}


class _Owners:
    """Looks for the executed node of each of the file's nodes. Those that kept a name, or the name of their result, are
    known; the others went into a neighbour."""

    def __init__(self, file: Sequence[Node], executed: Sequence[Node]) -> None:
        self.file, self.executed = file, executed
        self.producers = {name: node for node in file for name in node.outputs}
        self.readers: dict[str, list[Node]] = {}
        for node in file:
            for name in node.inputs:
                self.readers.setdefault(name, []).append(node)
        self.owners: dict[str, str] = {}

    def found(self) -> Mapping[str, str]:
        """The names of executed nodes by the names of the file's."""
        names = {node.name for node in self.file}
        for node in self.executed:
            if kept := _kept(node, names):
                self.owners[kept] = node.name
        for node in self.executed:
            made = self.producers.get(node.outputs[0]) if node.outputs and node.type not in MOVES else None
            if made is not None and node.name not in self.owners.values():
                self.owners.setdefault(made.name, node.name)
        for find in (self._before, self._behind):
            for node in self.file:
                if node.name not in self.owners and (owner := find(node)):
                    self.owners[node.name] = owner
        return self.owners

    def _before(self, node: Node) -> str:
        """Of the last node whose result this one alone reads, and which takes it along."""
        if node.type not in TAKEN_ALONG:
            return ""
        sources = [self.producers[name] for name in node.inputs if name in self.producers]
        alone = [source for source in sources if len(self.readers[source.outputs[0]]) == 1]
        last = max(alone, key=self.file.index, default=None)
        return self.owners.get(last.name, "") if last is not None else ""

    def _behind(self, node: Node) -> str:
        """Of the first owned node on the way forward."""
        while readers := self.readers.get(node.outputs[0] if node.outputs else ""):
            node = readers[0]
            if owner := self.owners.get(node.name):
                return owner
        return ""


def _kept(node: Node, names: set[str]) -> str:
    """The file's name that an executed node's begins with: ONNX Runtime puts `_nchwc`, `_token_4` and the like behind."""
    name = node.name
    while name and name not in names:
        name = name.rpartition("_")[0]
    return name


def _node(message: memoryview) -> Node:
    found: dict[int, list[str]] = {}
    for number, value in _fields(message):
        if number in (INPUT, OUTPUT, NAME, OP_TYPE):
            found.setdefault(number, []).append(str(value, "utf-8"))
    name, kind = found.get(NAME, [""])[-1], found.get(OP_TYPE, [""])[-1]
    return Node(name, kind, tuple(found.get(INPUT, ())), tuple(found.get(OUTPUT, ())))


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Number and content of each field that has a length; numbers are passed over."""
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        kind = key & 7
        if kind == LENGTH:
            length, place = _varint(message, place)
            yield key >> 3, message[place : place + length]
            place += length
        elif kind == VARINT:
            _, place = _varint(message, place)
        else:
            place += {EIGHT_BYTES: 8, FOUR_BYTES: 4}[kind]


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    """The number that begins at `place`, seven bits a byte, and the place behind it."""
    value = shift = 0
    while True:
        byte = message[place]
        value |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return value, place
