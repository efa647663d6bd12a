"""How operators that only copy elements carry channel labels: by running them on the labels themselves."""

from __future__ import annotations

import numpy as np
import torch
from torch.fx import Node

from edgepress import graph
from edgepress.compress._channels.labels import Channels, Flow, Labeller
from edgepress.compress._channels.nodes import SIZE_LISTS, rearranged, shape_at_batch
from edgepress.compress._channels.rule import Result, describe, freeze


def copying(labeller: Labeller, node: Node) -> Result:
    """Whatever the operator does to the channels shows in what comes out.

    Channels that are spread over several axes, as attention spreads them over heads and the places within
    each, keep labels along one of these and are tied along the others.
    """
    source = node.all_input_nodes[0]
    channels = labeller.channels(source)
    if channels is None:
        return None, Flow.FIXED
    moved = _moved(node, source, channels, 1)
    varying = [axis for axis in range(moved.ndim) if (moved != moved.take([0], axis)).any()]
    if not varying or len(np.unique(moved)) < len(np.unique(channels.labels)):
        freeze(labeller, source, f"{describe(node)} picks single channels")
        return None, Flow.FIXED
    axes = [axis for axis in varying if graph.shape(node)[axis] is not None]
    axes += [axis for axis in varying if axis not in axes and _is_folded(node, source, channels, axis)]
    if not axes:
        freeze(labeller, source, f"{describe(node)} mixes its channels with the batch")
        return None, Flow.FIXED
    axis = labeller.choose(node, sorted(axes, reverse=labeller.parts == "within"))
    lines = np.moveaxis(moved, axis, -1).reshape(-1, moved.shape[axis])
    if len(varying) > 1:
        labeller.tie(lines, np.broadcast_to(lines[:1], lines.shape))
    keeps = np.array_equal(lines[0], channels.labels) and graph.shape(node)[axis] is not None
    return Channels(axis, lines[0]), Flow.KEEPS if keeps else Flow.FIXED


def _moved(node: Node, source: Node, channels: Channels, batch: int) -> np.ndarray:
    """What comes out when each element of the source is its channel's label."""
    shape = shape_at_batch(source, batch)
    labels = np.resize(channels.labels, shape[channels.axis])
    spread = [-1 if axis == channels.axis else 1 for axis in range(len(shape))]
    return rearranged(
        node, torch.from_numpy(labels).reshape(spread).expand(shape).contiguous(), batch
    ).numpy()


def _is_folded(node: Node, source: Node, channels: Channels, axis: int) -> bool:
    """Whether the axis holds the channels of one sample, then those of the next, and its size can be left open."""
    one, two = (np.moveaxis(_moved(node, source, channels, batch), axis, -1) for batch in (1, 2))
    line = two.reshape(-1, two.shape[-1])[0]
    sizes = graph.arguments(node).get(SIZE_LISTS.get(graph.op_name(node), ""), ())
    is_open = all(
        size != -1 or place == axis or graph.shape(node)[place] is not None
        for place, size in enumerate(sizes)
    )
    return is_open and np.array_equal(line, np.tile(one.reshape(-1, one.shape[-1])[0], 2))
