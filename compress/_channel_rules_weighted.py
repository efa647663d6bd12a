"""How layers with weights carry channel labels: convolutions, linear layers, and those with one value a channel."""

from __future__ import annotations

import numpy as np
from torch.fx import Node

from edgepress import graph
from edgepress.compress._channel_labels import Channels, Flow, Labeller
from edgepress.compress._channel_normalise import shape_at_batch_one
from edgepress.compress._channel_rule import Result, Rule, on_axis, unknown

MANY_GROUPS = 8
"""From this many groups on a grouped convolution loses whole groups; below, every group loses as many channels."""


def convolution(labeller: Labeller, node: Node) -> Result:
    arguments = graph.arguments(node)
    weight, source = arguments["weight"], arguments["input"]
    if weight.op != "get_attr" or len(shape_at_batch_one(source)) != len(shape_at_batch_one(weight)):
        return unknown(labeller, node)
    channels = on_axis(labeller, source, 1, node)
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
            node, weight, 0 if is_transposed else 1, inputs.ravel() if is_transposed else inputs[0], "own"
        )
    labeller.bind(node, weight, 1 if is_transposed else 0, outputs[0] if is_transposed else made, "own")
    return Channels(1, made), Flow.FIXED


def linear(labeller: Labeller, node: Node) -> Result:
    arguments = graph.arguments(node)
    if arguments["weight"].op != "get_attr":
        return unknown(labeller, node)
    last = len(shape_at_batch_one(node)) - 1
    channels = on_axis(labeller, arguments["input"], last, node)
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


def per_channel(*names: str) -> Rule:
    def rule(labeller: Labeller, node: Node) -> Result:
        source = node.all_input_nodes[0]
        channels = on_axis(labeller, source, 1, node)
        if channels is not None:
            _bind_all(labeller, node, names, channels.labels)
        return channels, Flow.KEEPS

    return rule


def _bind_all(labeller: Labeller, node: Node, names: tuple[str, ...], labels: np.ndarray) -> None:
    for name in names:
        constant = graph.arguments(node).get(name)
        if isinstance(constant, Node) and shape_at_batch_one(constant)[0] == len(labels):
            labeller.bind(node, constant, 0, labels, "output")


def group_norm(labeller: Labeller, node: Node) -> Result:
    """A group keeps its mean and variance when it is removed as a whole."""
    channels = on_axis(labeller, node.all_input_nodes[0], 1, node)
    if channels is None:
        return None, Flow.KEEPS
    groups = channels.labels.reshape(graph.arguments(node)["num_groups"], -1)
    labeller.tie(groups, np.broadcast_to(groups[:, :1], groups.shape))
    for name in ("weight", "bias"):
        constant = graph.arguments(node)[name]
        if isinstance(constant, Node):
            labeller.bind(node, constant, 0, channels.labels, "own")
    return channels, Flow.FIXED
