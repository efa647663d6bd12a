"""How each operator carries channel labels from its inputs to its output: one rule an operator.

A rule returns the output's channels (None: nothing of it can shrink) and how the node treats the order
of its channels. An operator without a rule freezes whatever reaches it, with the reason.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch.fx import GraphModule, Node

from edgepress import graph
from edgepress.compress._channel_labels import Channels, Flow, Labeller, Labelling
from edgepress.compress._channel_normalise import REARRANGING, rearranged, shape_at_batch_one

Result = tuple[Channels | None, Flow]
Rule = Callable[[Labeller, Node], Result | None]

MANY_GROUPS = 8
"""From this many groups on a grouped convolution loses whole groups; below, every group loses as many channels."""

POINTWISE = frozenset({"dropout", "feature_dropout", "hardswish", "log_sigmoid", "relu6", "to", "_to_copy"})
"""Operators that treat each element by itself but do not carry PyTorch's tag that says so."""

WINDOWS = frozenset(
    {
        "max_pool1d", "max_pool2d", "max_pool3d", "avg_pool1d", "avg_pool2d", "avg_pool3d", "adaptive_avg_pool1d",
        "adaptive_avg_pool2d", "adaptive_avg_pool3d", "adaptive_max_pool1d", "adaptive_max_pool2d",
        "upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d", "upsample_linear1d",
        "upsample_bilinear2d", "upsample_bicubic2d", "_upsample_nearest_exact2d",
    }
)  # fmt: skip
"""Operators that work on the axes behind the channel axis, each channel by itself."""

REDUCTIONS = frozenset(
    {"mean", "sum", "amax", "amin", "var", "std", "softmax", "log_softmax", "_softmax", "prod"}
)
COPYING = REARRANGING | {
    "select",
    "slice",
    "expand",
    "repeat",
    "repeat_interleave",
    "pixel_shuffle",
    "pixel_unshuffle",
    "flip",
}


def label(graph_module: GraphModule) -> Labelling:
    """Label the channels of a normalised graph."""
    labeller = Labeller(graph_module)
    for node in graph_module.graph.nodes:
        if node.op == "call_function":
            found = _rule(node)(labeller, node)
            if found is not None:
                labeller.set(node, *found)
        elif node.op == "output":
            for source in node.all_input_nodes:
                _freeze(labeller, source, "its channels are the network's output")
            labeller.set(node, None, Flow.FIXED)
        else:
            labeller.set(node, None, Flow.KEEPS)
    return labeller.resolve()


def _rule(node: Node) -> Rule:
    name = graph.op_name(node)
    if name in RULES:
        return RULES[name]
    if torch.Tag.pointwise in getattr(node.target, "tags", ()) or name in POINTWISE:
        return _pointwise
    return _unknown


def _unknown(labeller: Labeller, node: Node) -> Result:
    for source in node.all_input_nodes:
        _freeze(labeller, source, f"it goes into {_describe(node)}, which needs all of its channels")
    return None, Flow.FIXED


def _freeze(labeller: Labeller, source: Node, reason: str) -> None:
    channels = labeller.channels(source)
    if channels is not None:
        labeller.freeze(channels.labels, reason)


def _describe(node: Node) -> str:
    return f"{graph.op_name(node)} in {graph.layer_name(node)}"


# Layers with weights


def _convolution(labeller: Labeller, node: Node) -> Result:
    arguments = graph.arguments(node)
    weight, source = arguments["weight"], arguments["input"]
    if weight.op != "get_attr" or len(shape_at_batch_one(source)) != len(shape_at_batch_one(weight)):
        return _unknown(labeller, node)
    channels = _on_axis(labeller, source, 1, node)
    inputs, outputs = shape_at_batch_one(source)[1], shape_at_batch_one(node)[1]
    is_transposed = "transpose" in graph.op_name(node)
    if arguments["groups"] == 1:
        made = _new_outputs(labeller, node, outputs, axis=1 if is_transposed else 0)
        if channels is not None:
            labeller.bind(node, weight, 0 if is_transposed else 1, channels.labels, "input")
        return Channels(1, made), Flow.MAKES
    if arguments["groups"] == inputs == outputs:
        return _depthwise(labeller, node, channels)
    return _grouped(labeller, node, channels, is_transposed)


def _depthwise(labeller: Labeller, node: Node, channels: Channels | None) -> Result:
    if channels is None:
        return None, Flow.KEEPS
    _bind_all(labeller, node, ("weight", "bias"), channels.labels)
    return channels, Flow.KEEPS


def _grouped(labeller: Labeller, node: Node, channels: Channels | None, is_transposed: bool) -> Result:
    """With many groups, a group's inputs and outputs are one; with few, so are the places across groups."""
    arguments = graph.arguments(node)
    groups, weight = arguments["groups"], arguments["weight"]
    made = labeller.fresh(shape_at_batch_one(node)[1])
    outputs = made.reshape(groups, -1)
    if isinstance(arguments["bias"], Node):
        labeller.bind(node, arguments["bias"], 0, made, "own")
    inputs = None if channels is None else channels.labels.reshape(groups, -1)
    if groups >= MANY_GROUPS and inputs is not None:
        for labels in (inputs, outputs):
            labeller.tie(labels, np.broadcast_to(inputs[:, :1], labels.shape))
        labeller.bind(node, weight, 0, inputs.ravel() if is_transposed else made, "own")
        return Channels(1, made), Flow.FIXED
    labeller.tie(outputs, np.broadcast_to(outputs[:1], outputs.shape))
    if inputs is not None:
        labeller.tie(inputs, np.broadcast_to(inputs[:1], inputs.shape))
        labeller.bind(
            node, weight, 0 if is_transposed else 1, channels.labels if is_transposed else inputs[0], "own"
        )  # type: ignore[union-attr]
    labeller.bind(node, weight, 1 if is_transposed else 0, outputs[0] if is_transposed else made, "own")
    return Channels(1, made), Flow.FIXED


def _linear(labeller: Labeller, node: Node) -> Result:
    arguments = graph.arguments(node)
    if arguments["weight"].op != "get_attr":
        return _unknown(labeller, node)
    last = len(shape_at_batch_one(node)) - 1
    channels = _on_axis(labeller, arguments["input"], last, node)
    made = _new_outputs(labeller, node, shape_at_batch_one(node)[last], axis=0)
    if channels is not None:
        labeller.bind(node, arguments["weight"], 1, channels.labels, "input")
    return Channels(last, made), Flow.MAKES


def _new_outputs(labeller: Labeller, node: Node, count: int, axis: int) -> np.ndarray:
    arguments, made = graph.arguments(node), labeller.fresh(count)
    labeller.bind(node, arguments["weight"], axis, made, "output")
    if isinstance(arguments["bias"], Node):
        labeller.bind(node, arguments["bias"], 0, made, "output")
    return made


def _on_axis(labeller: Labeller, source: Node, axis: int, node: Node) -> Channels | None:
    """The channels of `source` when they lie on `axis`; others are frozen, for `node` works across them."""
    channels = labeller.channels(source)
    if channels is not None and channels.axis != axis:
        _freeze(labeller, source, f"{_describe(node)} works along another axis than its channels'")
        return None
    return channels


# Layers with one value a channel


def _per_channel(*names: str) -> Rule:
    def rule(labeller: Labeller, node: Node) -> Result:
        source = node.all_input_nodes[0]
        channels = _on_axis(labeller, source, 1, node)
        if channels is not None:
            _bind_all(labeller, node, names, channels.labels)
        return channels, Flow.KEEPS

    return rule


def _bind_all(labeller: Labeller, node: Node, names: tuple[str, ...], labels: np.ndarray) -> None:
    for name in names:
        constant = graph.arguments(node).get(name)
        if isinstance(constant, Node) and shape_at_batch_one(constant)[0] == len(labels):
            labeller.bind(node, constant, 0, labels, "output")


def _group_norm(labeller: Labeller, node: Node) -> Result:
    """A group keeps its mean and variance when it is removed as a whole."""
    channels = _on_axis(labeller, node.all_input_nodes[0], 1, node)
    if channels is None:
        return None, Flow.KEEPS
    groups = channels.labels.reshape(graph.arguments(node)["num_groups"], -1)
    labeller.tie(groups, np.broadcast_to(groups[:, :1], groups.shape))
    for name in ("weight", "bias"):
        constant = graph.arguments(node)[name]
        if isinstance(constant, Node):
            labeller.bind(node, constant, 0, channels.labels, "own")
    return channels, Flow.FIXED


# Operators without weights


def _pointwise(labeller: Labeller, node: Node) -> Result:
    shape = shape_at_batch_one(node)
    operands = [
        (source, _aligned(labeller.channels(source), source, shape))
        for source in node.all_input_nodes
        if isinstance(source.meta.get("val"), torch.Tensor)
    ]
    axes = {channels.axis for _, channels in operands if channels is not None}
    if len(axes) != 1:
        return _unknown(labeller, node) if axes else (None, Flow.KEEPS)
    (axis,) = axes
    labels = max((channels.labels for _, channels in operands if channels is not None), key=len)
    for source, channels in operands:
        size = (1,) * len(shape) + shape_at_batch_one(source)
        if channels is not None and len(channels.labels) == shape[axis]:
            labeller.tie(labels, channels.labels)
        elif channels is not None:
            _freeze(labeller, source, "it is the only channel, and spread over others")
        elif size[axis - len(shape)] == 1:
            continue
        elif source.op == "get_attr":
            labeller.bind(node, source, axis - len(shape) + len(shape_at_batch_one(source)), labels, "output")
        else:
            labeller.freeze(labels, f"{_describe(node)} joins it with channels that cannot be removed")
    return Channels(axis, labels), Flow.KEEPS


def _aligned(channels: Channels | None, source: Node, shape: tuple[int, ...]) -> Channels | None:
    """The channels with their axis as it is in the broadcast `shape`."""
    if channels is None:
        return None
    return Channels(channels.axis + len(shape) - len(shape_at_batch_one(source)), channels.labels)


def _window(labeller: Labeller, node: Node) -> Result:
    return _on_axis(labeller, node.all_input_nodes[0], 1, node), Flow.KEEPS


def _reduction(labeller: Labeller, node: Node) -> Result:
    source = node.all_input_nodes[0]
    channels, arguments = labeller.channels(source), graph.arguments(node)
    if channels is None:
        return None, Flow.KEEPS
    rank = len(shape_at_batch_one(source))
    dims = arguments.get("dim")
    reduced = {dim % rank for dim in ([dims] if isinstance(dims, int) else dims or range(rank))}
    if channels.axis in reduced:
        _freeze(labeller, source, f"{_describe(node)} works across all channels")
        return None, Flow.FIXED
    lost = 0 if len(shape_at_batch_one(node)) == rank else sum(dim < channels.axis for dim in reduced)
    return Channels(channels.axis - lost, channels.labels), Flow.KEEPS


def _layer_norm(labeller: Labeller, node: Node) -> Result:
    source = node.all_input_nodes[0]
    channels, rank = labeller.channels(source), len(shape_at_batch_one(source))
    if channels is not None and channels.axis >= rank - len(graph.arguments(node)["normalized_shape"]):
        _freeze(labeller, source, f"{_describe(node)} takes mean and variance over all channels")
        return None, Flow.FIXED
    return channels, Flow.KEEPS


def _cat(labeller: Labeller, node: Node) -> Result | None:
    tensors, rank = graph.arguments(node)["tensors"], len(shape_at_batch_one(node))
    axis = graph.arguments(node)["dim"] % rank
    known = [channels for channels in map(labeller.channels, tensors) if channels is not None]
    if not known:
        return None, Flow.KEEPS
    if any(channels.axis != axis for channels in known):
        return (
            _pointwise(labeller, node)
            if all(c.axis == known[0].axis for c in known)
            else _unknown(labeller, node)
        )
    for tensor in tensors:
        if labeller.channels(tensor) is None:
            labels = labeller.fresh(shape_at_batch_one(tensor)[axis])
            labeller.freeze(labels, "it is no layer's output")
            labeller.set(tensor, Channels(axis, labels), labeller.result.flows[tensor])
    labeller.move(node, axis, [(tensor, np.arange(shape_at_batch_one(tensor)[axis])) for tensor in tensors])
    return None


def _slice(labeller: Labeller, node: Node) -> Result | None:
    arguments = graph.arguments(node)
    channels = labeller.channels(arguments["self"])
    rank = len(shape_at_batch_one(node))
    if channels is None or arguments["dim"] % rank != channels.axis:
        return channels, Flow.KEEPS
    places = np.arange(len(channels.labels))[arguments["start"] : arguments["end"] : arguments["step"]]
    labeller.move(node, channels.axis, [(arguments["self"], places)])
    return None


def _index_select(labeller: Labeller, node: Node) -> Result | None:
    arguments = graph.arguments(node)
    channels, rank = labeller.channels(arguments["self"]), len(shape_at_batch_one(node))
    if channels is None or arguments["dim"] % rank != channels.axis:
        return channels, Flow.KEEPS
    index = graph.constant(labeller.result.graph_module, arguments["index"])
    if index is None:
        return _unknown(labeller, node)
    labeller.move(node, channels.axis, [(arguments["self"], index.numpy())])
    return None


def _pad(labeller: Labeller, node: Node) -> Result:
    arguments, source = graph.arguments(node), node.all_input_nodes[0]
    channels, rank = labeller.channels(source), len(shape_at_batch_one(node))
    if channels is None:
        return None, Flow.KEEPS
    widths = list(arguments["pad"]) + [0] * (2 * rank - len(arguments["pad"]))
    before, after = widths[2 * (rank - 1 - channels.axis) :][:2]
    if (before, after) == (0, 0):
        return channels, Flow.KEEPS
    if arguments.get("mode", "constant") != "constant" or min(before, after) < 0:
        return _unknown(labeller, node)
    parts = (labeller.fresh(before), channels.labels, labeller.fresh(after))
    return Channels(channels.axis, np.concatenate(parts)), Flow.FIXED


def _copying(labeller: Labeller, node: Node) -> Result:
    """Run the operator on the labels themselves: whatever it does to the channels shows in what comes out."""
    source = node.all_input_nodes[0]
    channels = labeller.channels(source)
    if channels is None:
        return None, Flow.FIXED
    shape = shape_at_batch_one(source)
    spread = [-1 if axis == channels.axis else 1 for axis in range(len(shape))]
    moved = rearranged(
        node, torch.from_numpy(channels.labels).reshape(spread).expand(shape).contiguous()
    ).numpy()
    varying = [axis for axis in range(moved.ndim) if (moved != moved.take([0], axis)).any()]
    if not varying or len(np.unique(moved)) < len(np.unique(channels.labels)):
        _freeze(labeller, source, f"{_describe(node)} picks single channels")
        return None, Flow.FIXED
    axis = max(varying, key=lambda axis: (moved.shape[axis], axis))
    lines = np.moveaxis(moved, axis, -1).reshape(-1, moved.shape[axis])
    if len(varying) > 1:
        labeller.tie(lines, np.broadcast_to(lines[:1], lines.shape))
    is_same = np.array_equal(lines[0], channels.labels)
    return Channels(axis, lines[0]), Flow.KEEPS if is_same else Flow.FIXED


RULES: dict[str, Rule] = {
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), _convolution),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), _convolution),
    "linear": _linear,
    "batch_norm": _per_channel("weight", "bias", "running_mean", "running_var"),
    "instance_norm": _per_channel("weight", "bias", "running_mean", "running_var"),
    "prelu": _per_channel("weight"),
    "group_norm": _group_norm,
    "layer_norm": _layer_norm,
    "cat": _cat,
    "slice": _slice,
    "index_select": _index_select,
    "pad": _pad,
    "constant_pad_nd": _pad,
    **dict.fromkeys(WINDOWS, _window),
    **dict.fromkeys(REDUCTIONS, _reduction),
    **dict.fromkeys(COPYING - {"slice"}, _copying),
}
"""By the operator's name. Any other pointwise operator is `_pointwise`, and the rest `_unknown`."""
