"""Labels the channels of a network by which factor they may be multiplied: those that must have the same are one class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.fx import GraphModule, Node

from edgepress import graph
from edgepress.compress._channels.labels import Channels, Flow, Labeller, Labelling
from edgepress.compress._channels.nodes import REARRANGING, shape_at_batch_one
from edgepress.compress._channels.rule import Result, describe
from edgepress.compress._channels.rules import RULES, WINDOWS, label
from edgepress.compress._channels.rules_weighted import convolution

HOMOGENEOUS = (
    REARRANGING
    | WINDOWS
    | {"relu", "leaky_relu", "mean", "sum", "amax", "amin", "cat", "slice", "index_select", "select"}
    | {"view", "_unsafe_view", "dropout", "add", "sub", "pad", "constant_pad_nd"}
)
"""Operators that give c times as much for c times the input, for every c above zero."""


@dataclass(frozen=True, eq=False)
class Scalable:
    """`labelling` of a normalised copy of the graph, and the classes that may be scaled (bool).

    `depthwise` are the layers whose every output has one input: both have a factor, and the weight the quotient.
    """

    labelling: Labelling
    free: np.ndarray
    reasons: dict[int, str]
    depthwise: tuple[Node, ...]


def scalable(graph_module: GraphModule) -> Scalable:
    """Label a normalised graph."""
    labelling = label(graph_module, rules={**RULES, "conv1d": _convolution, "conv2d": _convolution})
    reasons = dict(labelling.reasons)
    depthwise = [node for node in graph.operators(graph_module) if is_depthwise(node)]
    for node in graph.operators(graph_module):
        reason = _reason_against(graph_module, node)
        for touched in (node, *node.all_input_nodes) if reason else ():
            for number in _classes(labelling, touched):
                reasons.setdefault(number, reason)
    for binding in labelling.bindings:
        if binding.side == "own" or binding.node.target not in graph.WEIGHTED:
            for number in np.unique(labelling.classes[binding.labels]).tolist():
                reasons.setdefault(number, f"{describe(binding.node)} works on it with values of its own")
    free = np.ones(labelling.count, bool)
    free[list(reasons)] = False
    return Scalable(labelling, free, reasons, tuple(depthwise))


def is_depthwise(node: Node) -> bool:
    if node.target not in graph.CONVOLUTIONS:
        return False
    groups = graph.arguments(node)["groups"]
    channels = (shape_at_batch_one(node)[1], shape_at_batch_one(graph.arguments(node)["input"])[1])
    return groups > 1 and channels == (groups, groups)


def _convolution(labeller: Labeller, node: Node) -> Result:
    """A depthwise layer makes new channels, as any other does: what it reads may have factors of its own."""
    source = graph.arguments(node)["input"]
    channels = labeller.channels(source)
    if not is_depthwise(node) or channels is None or channels.axis != 1:
        return convolution(labeller, node)
    made = labeller.fresh(len(channels.labels))
    bias = graph.arguments(node)["bias"]
    if isinstance(bias, Node) and bias.op == "get_attr":
        labeller.bind(node, bias, 0, made, "output")
    return Channels(1, made), Flow.MAKES


def _classes(labelling: Labelling, node: Node) -> list[int]:
    if labelling.channels.get(node) is None:
        return []
    found: list[int] = np.unique(labelling.classes_of(node)).tolist()
    return found


def _reason_against(graph_module: GraphModule, node: Node) -> str:
    """Why the channels that the operator reads and makes cannot be scaled; empty where nothing speaks against it."""
    arguments = graph.arguments(node)
    name = graph.op_name(node)
    if node.target in graph.WEIGHTED:
        return _reason_against_layer(graph_module, node, arguments)
    if not isinstance(node.meta.get("val"), torch.Tensor):
        return ""
    is_sum_with_number = name in ("add", "sub") and not isinstance(arguments.get("other"), Node)
    is_filled = name in ("pad", "constant_pad_nd") and arguments.get("value") not in (None, 0, 0.0)
    if name not in HOMOGENEOUS or is_sum_with_number or is_filled:
        return f"it passes {describe(node)}, whose result does not grow with it"
    return ""


def _reason_against_layer(graph_module: GraphModule, node: Node, arguments: dict[str, Any]) -> str:
    if arguments.get("groups", 1) > 1 and not is_depthwise(node):
        return f"{describe(node)} reads its channels in groups"
    if isinstance(arguments["bias"], Node) and graph.constant(graph_module, arguments["bias"]) is None:
        return f"{describe(node)} has a bias that is computed"
    if any(graph.readers(graph_module, arguments[name]) > 1 for name in ("weight", "bias")):
        return f"{describe(node)} shares its weights"
    return ""
