"""How layers with weights carry channel labels: convolutions, linear layers, and those with one value a channel."""

from __future__ import annotations

import numpy as np
from torch.fx import Node

from edgepress import graph
from edgepress.compress._channels.labels import Channels, Flow, Labeller, Side
from edgepress.compress._channels.nodes import shape_at_batch_one
from edgepress.compress._channels.rule import Result, Rule, describe, on_axis, unknown
from edgepress.compress._channels.stored import bind_stored

MANY_GROUPS = 8
"""From this many groups on a grouped convolution loses whole groups, if nothing else is asked for; below, every group
loses as many channels."""


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
    """Either whole groups go, and a group's inputs and outputs are one; or every group loses the same places, for
    all groups of a convolution have as many channels as each other."""
    arguments = graph.arguments(node)
    groups, weight = arguments["groups"], arguments["weight"]
    made = labeller.fresh(shape_at_batch_one(node)[1])
    outputs = made.reshape(groups, -1)
    if isinstance(arguments["bias"], Node):
        _bind(labeller, node, arguments["bias"], made, "own")
    inputs = None if channels is None else channels.labels.reshape(groups, -1)
    if inputs is not None and _go_whole(labeller, node, groups, inputs.shape[1]):
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


def _go_whole(labeller: Labeller, node: Node, groups: int, inputs: int) -> bool:
    """Whether the groups of a convolution, each with so many inputs, go whole, and not places within them."""
    is_open = labeller.parts in ("auto", "apart")
    is_first = groups >= MANY_GROUPS or inputs == 1 if is_open else labeller.parts == "whole"
    return labeller.choose(node, (is_first, not is_first))


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
        _bind(labeller, node, arguments["bias"], made, "output")
    return made


def embedding(labeller: Labeller, node: Node) -> Result:
    """Each entry of the dictionary is a vector of channels."""
    weight = graph.arguments(node)["weight"]
    if weight.op != "get_attr":
        return None, Flow.FIXED
    last = len(shape_at_batch_one(node)) - 1
    made = labeller.fresh(shape_at_batch_one(node)[last])
    labeller.bind(node, weight, 1, made, "own")
    return Channels(last, made), Flow.FIXED


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
            _bind(labeller, node, constant, labels, "output")


def _bind(labeller: Labeller, node: Node, constant: Node, labels: np.ndarray, side: Side) -> None:
    """Let a vector with one value a channel follow; one that is computed keeps the channels."""
    if not bind_stored(labeller, node, constant, 0, labels, side):
        labeller.freeze(
            labels, f"{describe(node)} has one value for each channel that is computed in the forward"
        )


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
            _bind(labeller, node, constant, channels.labels, "own")
    return channels, Flow.FIXED
