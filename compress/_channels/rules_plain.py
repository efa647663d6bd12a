"""How operators without weights carry channel labels: sums, pooling, joins and slices."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch.fx import Node

from edgepress import graph
from edgepress.compress._channels import rules_recurrent as recurrent
from edgepress.compress._channels.labels import Channels, Flow, Labeller
from edgepress.compress._channels.nodes import RECURRENT, shape_at_batch_one
from edgepress.compress._channels.rule import Result, describe, freeze, on_axis, origin, unknown
from edgepress.compress._channels.stored import bind_stored

AXES = ("dim", "dims", "dimension")
"""How operators call the argument that names the axes along which they work."""

SEVERAL = frozenset(
    {
        "adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d", "max_pool1d_with_indices",
        "max_pool2d_with_indices", "max_pool3d_with_indices", "max", "min", "median", "aminmax", "std_mean", "var_mean",
        "topk", "sort",
    }
)  # fmt: skip
"""Operators with several results that lie alike: values and where they were found, a mean and a deviation."""


def pointwise(labeller: Labeller, node: Node) -> Result:
    shape = shape_at_batch_one(node)
    operands = [
        (source, _aligned(labeller.channels(source), source, shape))
        for source in node.all_input_nodes
        if isinstance(source.meta.get("val"), torch.Tensor)
    ]
    axes = {channels.axis for _, channels in operands if channels is not None}
    if len(axes) != 1:
        return unknown(labeller, node) if axes else (None, Flow.KEEPS)
    (axis,) = axes
    known = [channels.labels for _, channels in operands if channels is not None]
    labels = next((found for found in known if len(found) == shape[axis]), None)
    for source, channels in operands:
        size = (1,) * len(shape) + shape_at_batch_one(source)
        if channels is not None and len(channels.labels) != shape[axis]:
            freeze(labeller, source, "it is the only channel, and spread over others")
        elif labels is None or size[axis - len(shape)] == 1:
            continue
        elif channels is not None:
            labeller.tie(labels, channels.labels)
        elif not bind_stored(
            labeller, node, source, axis - len(shape) + len(shape_at_batch_one(source)), labels
        ):
            labeller.freeze(labels, f"{describe(node)} joins it with {origin(source)}, whose channels stay")
    return None if labels is None else Channels(axis, labels), Flow.KEEPS


def _aligned(channels: Channels | None, source: Node, shape: tuple[int, ...]) -> Channels | None:
    """The channels with their axis as it is in the broadcast `shape`."""
    if channels is None:
        return None
    return Channels(channels.axis + len(shape) - len(shape_at_batch_one(source)), channels.labels)


def window(labeller: Labeller, node: Node) -> Result:
    source = node.all_input_nodes[0]
    dimensions = next(int(letter) for letter in graph.op_name(node) if letter.isdigit())
    if len(shape_at_batch_one(source)) != dimensions + 2:
        # PyTorch takes this for one sample without a batch, so the window runs over the channels.
        return unknown(labeller, node)
    return on_axis(labeller, source, 1, node), Flow.KEEPS


def reduction(labeller: Labeller, node: Node) -> Result:
    source = node.all_input_nodes[0]
    channels, arguments = labeller.channels(source), graph.arguments(node)
    if channels is None:
        return None, Flow.KEEPS
    rank = len(shape_at_batch_one(source))
    dims = next((arguments[name] for name in AXES if name in arguments), None)
    reduced = {dim % rank for dim in ([dims] if isinstance(dims, int) else dims or range(rank))}
    if channels.axis in reduced:
        freeze(labeller, source, f"{describe(node)} works across all channels")
        return None, Flow.FIXED
    made = node.meta["val"]
    left = (made if isinstance(made, torch.Tensor) else made[0]).ndim
    lost = sum(dim < channels.axis for dim in reduced) if left < rank else 0
    return Channels(channels.axis - lost, channels.labels), Flow.KEEPS


def part(labeller: Labeller, node: Node) -> Result:
    """One of several results: each has the channels of what they were made of."""
    source = node.all_input_nodes[0]
    channels, name = labeller.channels(source), graph.op_name(source)
    if channels is not None and name in RECURRENT:
        return recurrent.part(channels, node)
    return (channels, Flow.KEEPS) if name in SEVERAL else unknown(labeller, node)


def patches(labeller: Labeller, node: Node) -> Result:
    """The patches of a picture: each channel becomes as many as a patch has pixels."""
    source = graph.arguments(node)["self"]
    channels = on_axis(labeller, source, 1, node)
    if channels is None or len(shape_at_batch_one(source)) != 4:
        return unknown(labeller, node)
    pixels = math.prod(graph.arguments(node)["kernel_size"])
    return Channels(1, np.repeat(channels.labels, pixels)), Flow.FIXED


def pictures(labeller: Labeller, node: Node) -> Result:
    """The picture that patches are laid into: all pixels of a patch's channel go with it."""
    source = graph.arguments(node)["self"]
    channels = on_axis(labeller, source, 1, node)
    if channels is None or len(shape_at_batch_one(source)) != 3:
        return unknown(labeller, node)
    pixels = channels.labels.reshape(-1, math.prod(graph.arguments(node)["kernel_size"]))
    labeller.tie(pixels, np.broadcast_to(pixels[:, :1], pixels.shape))
    return Channels(1, pixels[:, 0]), Flow.FIXED


def sampled(labeller: Labeller, node: Node) -> Result:
    """A picture read at places that another tensor gives, which are no channels."""
    picture, places = node.all_input_nodes
    freeze(labeller, places, f"{describe(node)} takes them for coordinates")
    return on_axis(labeller, picture, 1, node), Flow.FIXED


def layer_norm(labeller: Labeller, node: Node) -> Result:
    source = node.all_input_nodes[0]
    channels, rank = labeller.channels(source), len(shape_at_batch_one(source))
    if channels is not None and channels.axis >= rank - len(graph.arguments(node)["normalized_shape"]):
        freeze(
            labeller,
            source,
            f"{describe(node)} normalises over all channels, so that each depends on all others",
        )
        return channels, Flow.FIXED
    return channels, Flow.KEEPS


def cat(labeller: Labeller, node: Node) -> Result | None:
    tensors, rank = graph.arguments(node)["tensors"], len(shape_at_batch_one(node))
    axis = graph.arguments(node)["dim"] % rank
    known = [channels for channels in map(labeller.channels, tensors) if channels is not None]
    if not known:
        return None, Flow.KEEPS
    if graph.shape(node)[axis] is None and any(channels.axis == axis for channels in known):
        return unknown(labeller, node)
    if any(channels.axis != axis for channels in known):
        return (
            pointwise(labeller, node)
            if all(c.axis == known[0].axis for c in known)
            else unknown(labeller, node)
        )
    for tensor in tensors:
        if labeller.channels(tensor) is None:
            labels = labeller.fresh(shape_at_batch_one(tensor)[axis])
            labeller.freeze(labels, "it is no layer's output")
            labeller.set(tensor, Channels(axis, labels), labeller.result.flows[tensor])
    labeller.move(node, axis, [(tensor, np.arange(shape_at_batch_one(tensor)[axis])) for tensor in tensors])
    return None


def slice(labeller: Labeller, node: Node) -> Result | None:
    arguments = graph.arguments(node)
    channels = labeller.channels(arguments["self"])
    rank = len(shape_at_batch_one(node))
    if channels is None or arguments["dim"] % rank != channels.axis:
        return channels, Flow.KEEPS
    if graph.shape(arguments["self"])[channels.axis] is None:
        return unknown(labeller, node)
    places = np.arange(len(channels.labels))[arguments["start"] : arguments["end"] : arguments["step"]]
    labeller.move(node, channels.axis, [(arguments["self"], places)])
    return None


def index_select(labeller: Labeller, node: Node) -> Result | None:
    arguments = graph.arguments(node)
    channels, rank = labeller.channels(arguments["self"]), len(shape_at_batch_one(node))
    if channels is None or arguments["dim"] % rank != channels.axis:
        return channels, Flow.KEEPS
    index = graph.constant(labeller.result.graph_module, arguments["index"])
    if index is None or graph.shape(arguments["self"])[channels.axis] is None:
        return unknown(labeller, node)
    labeller.move(node, channels.axis, [(arguments["self"], index.numpy())])
    return None


def pad(labeller: Labeller, node: Node) -> Result:
    arguments, source = graph.arguments(node), node.all_input_nodes[0]
    channels, rank = labeller.channels(source), len(shape_at_batch_one(node))
    if channels is None:
        return None, Flow.KEEPS
    widths = list(arguments["pad"]) + [0] * (2 * rank - len(arguments["pad"]))
    before, after = widths[2 * (rank - 1 - channels.axis) :][:2]
    if (before, after) == (0, 0):
        return channels, Flow.KEEPS
    is_folded = graph.shape(source)[channels.axis] is None
    if arguments.get("mode", "constant") != "constant" or min(before, after) < 0 or is_folded:
        return unknown(labeller, node)
    parts = (labeller.fresh(before), channels.labels, labeller.fresh(after))
    return Channels(channels.axis, np.concatenate(parts)), Flow.FIXED
