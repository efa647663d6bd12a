"""Follows labels back through what rearranges a stored tensor before a node reads it.

A layer scale is stored as a vector and reshaped to (channels, 1, 1); a table of position biases is picked from
by a constant index and permuted. The stored tensor is cut all the same, on the axis that the labels come from.
"""

from __future__ import annotations

import numpy as np
import torch
from torch.fx import Node

from edgepress.compress._channels.labels import Channels, Flow, Labeller, Side
from edgepress.compress._channels.nodes import is_stored, rearranged, shape_at_batch_one


def bind_stored(
    labeller: Labeller, node: Node, operand: Node, axis: int, labels: np.ndarray, side: Side = "output"
) -> bool:
    """Let `axis` of `operand`, which `node` reads, follow `labels`, back to the stored tensor that it is made of.

    Returns False when it is not made of one, or not so that an entry of the axis is one of an axis there.
    """
    if operand.op == "get_attr":
        labeller.bind(node, operand, axis, labels, side)
        return True
    found = _origin(operand, axis) if is_stored(operand) else None
    known = labeller.channels(operand)
    if found is None or (known is not None and known.axis != axis):
        return False
    labeller.bind(node, operand, axis, labels, "own")
    if known is not None:
        return True
    source_axis, places = found
    inner = labels[np.unique(places, return_index=True)[1]]
    labeller.tie(labels, inner[places])
    labeller.set(operand, Channels(axis, labels), Flow.FIXED)
    return bind_stored(labeller, operand, operand.args[0], source_axis, inner, "own")  # type: ignore[arg-type]  # what it moves is a node


def _origin(node: Node, axis: int) -> tuple[int, np.ndarray] | None:
    """The axis of the node's source from which the entries of `axis` come one by one, and their places there."""
    shape = shape_at_batch_one(node.args[0])  # type: ignore[arg-type]  # what it moves is a node
    for source_axis, size in enumerate(shape):
        spread = [-1 if other == source_axis else 1 for other in range(len(shape))]
        moved = rearranged(node, torch.arange(size).reshape(spread).expand(shape).contiguous()).movedim(
            axis, 0
        )
        lines = moved.reshape(len(moved), -1)
        is_alone = bool((lines == lines[:, :1]).all())
        if is_alone and size > 1 and len(lines[:, 0].unique()) == size:
            return source_axis, lines[:, 0].numpy()
    return None
