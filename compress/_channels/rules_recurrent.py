"""How recurrent layers carry channel labels: their hidden units, through gates, states and all levels.

A unit is one row of every gate, a column of the matrix that reads the states, and one entry of each state. One
operator has one width, so that the units of all its levels and both its directions go together, by their places.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch.fx import Node

from edgepress import graph
from edgepress.compress._channels.labels import Channels, Flow, Labeller
from edgepress.compress._channels.nodes import (
    FILLED,
    FILLED_LIKE,
    REARRANGING,
    RECURRENT,
    is_stored,
    shape_at_batch_one,
)
from edgepress.compress._channels.rule import Result, describe, freeze, on_axis, origin, unknown
from edgepress.compress._channels.stored import bind_stored

CELL_PARAMETERS = ("w_ih", "w_hh", "b_ih", "b_hh")


def recurrent(labeller: Labeller, node: Node) -> Result:
    """The outputs are the units of both directions, one after the other; see `part` for the single results."""
    arguments = graph.arguments(node)
    if "input" not in arguments:
        return unknown(labeller, node)
    source, passes = arguments["input"], _passes(arguments)
    channels = on_axis(labeller, source, len(shape_at_batch_one(source)) - 1, node)
    directions = 1 + bool(arguments.get("bidirectional"))
    if channels is not None:
        for parameters in passes[:directions]:
            labeller.bind(node, parameters[0], 1, channels.labels, "own")
    states = [arguments["hx"]] if isinstance(arguments["hx"], Node) else arguments["hx"] or ()
    if projects(node):
        for state in states:
            freeze(labeller, state, f"{describe(node)} begins with it, and projects its states")
        return None, Flow.FIXED
    units = labeller.fresh(shape_at_batch_one(passes[0][1])[1])
    for number, parameters in enumerate(passes):
        _bind(labeller, node, parameters, units, directions if number >= directions else 0)
    for state in states:
        _begin(labeller, node, state, units)
    return Channels(len(shape_at_batch_one(source)) - 1, np.tile(units, directions)), Flow.FIXED


def part(channels: Channels, node: Node) -> Result:
    """One of the results of a recurrent layer: its outputs, or its last states."""
    shape = shape_at_batch_one(node)
    return Channels(len(shape) - 1, channels.labels[: shape[-1]]), Flow.FIXED


def projects(node: Node) -> bool:
    """Whether a recurrent layer has a matrix more in each pass, which makes states of another width."""
    return len(_passes(graph.arguments(node))[0]) % 2 == 1


def _passes(arguments: dict[str, Any]) -> list[Sequence[Node]]:
    """The parameters of each level and direction: (inputs, states, biases of both where there are any)."""
    if "params" not in arguments:
        return [[arguments[name] for name in CELL_PARAMETERS if isinstance(arguments[name], Node)]]
    parameters = arguments["params"]
    each = len(parameters) // (arguments["num_layers"] * (1 + arguments["bidirectional"]))
    return [parameters[start : start + each] for start in range(0, len(parameters), each)]


def _bind(labeller: Labeller, node: Node, parameters: Sequence[Node], units: np.ndarray, below: int) -> None:
    """The parameters of one pass, which reads the units of `below` others, or none of them."""
    gates = shape_at_batch_one(parameters[0])[0] // len(units)
    for parameter in parameters:
        labeller.bind(node, parameter, 0, np.tile(units, gates), "own")
    labeller.bind(node, parameters[1], 1, units, "own")
    if below:
        labeller.bind(node, parameters[0], 1, np.tile(units, below), "own")


def _begin(labeller: Labeller, node: Node, state: Node, units: np.ndarray) -> None:
    """The state that a layer begins with has its units: one that is filled with a number becomes smaller with them."""
    last = len(shape_at_batch_one(state)) - 1
    if graph.op_name(state) in FILLED_LIKE:
        _follow(labeller, state, state.all_input_nodes[0])
    channels = labeller.channels(state)
    if channels is not None and channels.axis == last:
        labeller.tie(channels.labels, units)
    elif channels is None and _is_filled_for(state):
        labeller.set(state, Channels(last, units), Flow.FIXED)
    elif not bind_stored(labeller, node, state, last, units, "own"):
        freeze(labeller, state, f"{describe(node)} begins with it as a state, along another axis")
        labeller.freeze(units, f"{describe(node)} begins with {_origin(state)}, whose channels stay")


def _follow(labeller: Labeller, state: Node, model: Node) -> None:
    """Let a state be as large as what it is like: that has got its labels only now where it is a stored tensor, from
    the state before."""
    channels = labeller.channels(model)
    labeller.set(state, channels, Flow.KEEPS)
    if channels is not None and is_stored(model):
        labeller.bind(state, model, channels.axis, channels.labels, "own")


def _origin(state: Node) -> str:
    """Where a state comes from, however it was brought into shape."""
    while state.op == "call_function" and graph.op_name(state) in REARRANGING:
        state = state.all_input_nodes[0]
    return origin(state)


def _is_filled_for(state: Node) -> bool:
    """Whether recurrent layers alone read a tensor that has one value everywhere."""
    return graph.op_name(state) in FILLED and all(graph.op_name(user) in RECURRENT for user in state.users)
