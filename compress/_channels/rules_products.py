"""How products of two tensors carry channel labels: matrix products, einsum and scaled dot-product attention.

Each axis of each operand has a letter, as in einsum. Where a letter has labels in one operand it must have them
in all: they are tied, a stored operand follows, and whatever cannot follow keeps the channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch.fx import Node

from edgepress import graph
from edgepress.compress._channels.labels import Channels, Flow, Labeller, Product
from edgepress.compress._channels.nodes import shape_at_batch_one
from edgepress.compress._channels.rule import Result, describe, freeze, origin, unknown
from edgepress.compress._channels.stored import bind_stored

BATCH_LETTERS = "HGFEDCBA"
"""For the axes in front of a product's own, the last of them always by the last letter."""

Operand = tuple[Node, str]


def matmul(labeller: Labeller, node: Node) -> Result:
    first, second = _tensors(node.args[:2])
    left, right = _rank(first), _rank(second)
    row, column = "m" * (left > 1), "n" * (right > 1)
    operands = [(first, _batch(left - 2) + row + "k"), (second, _batch(right - 2) + "k" + column)]
    return _product(labeller, node, operands, _batch(max(left, right) - 2) + row + column)


def added_matmul(labeller: Labeller, node: Node) -> Result:
    """addmm and baddbmm: a third operand is added to the product, and broadcast to its shape."""
    added, first, second = _tensors(node.args[:3])
    batch = _batch(_rank(first) - 2)
    output = batch + "mn"
    operands = [(first, batch + "mk"), (second, batch + "kn"), (added, output[len(output) - _rank(added) :])]
    return _product(labeller, node, operands, output)


def einsum(labeller: Labeller, node: Node) -> Result:
    equation, tensors = node.args[:2]
    inputs, arrow, output = str(equation).replace(" ", "").partition("->")
    names = inputs.split(",")
    if not arrow or "." in inputs or any(len(set(name)) < len(name) for name in names):
        return unknown(labeller, node)
    return _contracted(labeller, node, list(zip(_tensors(tensors), names, strict=True)), output)


def attention(labeller: Labeller, node: Node) -> Result:
    """Heads are a batch axis of all operands; the width of query and key is summed over, that of value is not."""
    arguments = graph.arguments(node)
    query, key, value, mask = (arguments[name] for name in ("query", "key", "value", "attn_mask"))
    batch = _batch(_rank(query) - 2)
    operands = [(query, batch + "mk"), (key, batch + "nk"), (value, batch + "nd")]
    added = [] if mask is None else [(mask, (batch + "mn")[len(batch) + 2 - _rank(mask) :])]
    for source in (query, key, value) if arguments["is_causal"] else (key, value):
        channels = labeller.channels(source)
        if channels is not None and channels.axis == _rank(source) - 2:
            freeze(
                labeller, source, f"{describe(node)} takes them for tokens, and compares each with all others"
            )
    result = _contracted(labeller, node, operands + added, batch + "md")
    for names in (batch + "mnk", batch + "mnd"):
        _count(labeller, operands, names)
    return result


def _product(labeller: Labeller, node: Node, operands: list[Operand], output: str) -> Result:
    result = _contracted(labeller, node, operands, output)
    _count(labeller, operands, "".join(dict.fromkeys(output + "k")))
    return result


def _contracted(labeller: Labeller, node: Node, operands: list[Operand], output: str) -> Result:
    """Tie the labels of each letter, and hand on those of a letter of the output."""
    found: dict[str, np.ndarray] = {}
    for letter in dict.fromkeys("".join(names for _, names in operands)):
        labels = _labels(labeller, operands, letter)
        if labels is None:
            continue
        for source, axis in _held(operands, letter):
            channels = labeller.channels(source)
            if channels is not None and channels.axis == axis:
                # Grouped-query attention: a head of key and value serves several of the query.
                labeller.tie(labels, np.repeat(channels.labels, len(labels) // len(channels.labels)))
            elif not bind_stored(labeller, node, source, axis, labels, "own"):
                labeller.freeze(
                    labels, f"{describe(node)} joins it with {origin(source)}, whose channels stay"
                )
        if letter in output:
            found[letter] = labels
    if len(found) > 1:
        for labels in found.values():
            labeller.freeze(labels, f"{describe(node)} multiplies each of its channels with each of others")
    for letter, labels in found.items():
        return Channels(output.index(letter), labels), Flow.FIXED
    return None, Flow.FIXED


def _labels(labeller: Labeller, operands: Sequence[Operand], letter: str) -> np.ndarray | None:
    """The labels of a letter, those of the operand with most entries; None where no operand has any."""
    labels = [
        channels.labels
        for source, axis in _held(operands, letter)
        if (channels := labeller.channels(source)) is not None and channels.axis == axis
    ]
    return max(labels, key=len, default=None)


def _held(operands: Sequence[Operand], letter: str) -> list[tuple[Node, int]]:
    """The operands that have this letter, and where; one with a single entry is broadcast and does not count."""
    return [
        (source, names.index(letter))
        for source, names in operands
        if letter in names and shape_at_batch_one(source)[names.index(letter)] > 1
    ]


def _count(labeller: Labeller, operands: Sequence[Operand], letters: str) -> None:
    """Record the multiply-accumulates: one for each combination of entries of these letters."""
    factor, labelled = 1, []
    for letter in letters:
        labels = _labels(labeller, operands, letter)
        if labels is not None:
            labelled.append(labels)
        else:
            factor *= max(
                (shape_at_batch_one(source)[axis] for source, axis in _held(operands, letter)), default=1
            )
    if labelled:
        labeller.result.products.append(Product(factor, tuple(labelled)))


def _tensors(arguments: Any) -> list[Node]:
    assert all(isinstance(argument, Node) for argument in arguments), "a product is one of tensors"
    return list(arguments)


def _rank(node: Node) -> int:
    return len(shape_at_batch_one(node))


def _batch(count: int) -> str:
    return BATCH_LETTERS[len(BATCH_LETTERS) - max(count, 0) :]
