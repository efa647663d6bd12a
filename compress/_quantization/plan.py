"""Decides which operators of a graph become int8, which tensors that gives a scale, and which share one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch.fx import GraphModule, Node

from edgepress import graph
from edgepress.compress._quantization.operators import (
    FIXED_RANGES,
    NOT_OF_16_BITS,
    TAKES_ACTIVATION,
    TWO_INPUTS,
    Role,
    role,
    tensor_inputs,
)
from edgepress.compress._quantization.orientation import output_axis
from edgepress.compress._quantization.ranges import Range

Skipped = Callable[[Node], bool]


@dataclass(frozen=True)
class SharedScale:
    """Tensors with one scale and zero point: `tensors` get a pair of nodes each, `observed` say which values
    there are, and `maker`, the first operator (or input) that makes them, whose options count. `fixed` is the range where the operator leaves no choice; `is_input` says that all of them are
    inputs of the network, as they are or moved."""

    tensors: tuple[Node, ...]
    observed: tuple[Node, ...]
    maker: Node
    fixed: Range | None = None
    is_input: bool = False


@dataclass(frozen=True)
class LeftInFloat:
    """An operator that stays as it is: the user's layer, the operator's type, and why."""

    layer: str
    type: str
    reason: str


@dataclass(frozen=True)
class Plan:
    """`layers` hold the weights that become int8; `readers` are all operators that will read int8."""

    layers: tuple[Node, ...]
    readers: frozenset[Node]
    scales: tuple[SharedScale, ...]
    left_in_float: tuple[LeftInFloat, ...]

    @property
    def ends(self) -> frozenset[Node]:
        """The layers that read inputs of the network, as they are or moved, and the last one."""
        inputs = {tensor for scale in self.scales if scale.is_input for tensor in scale.tensors}
        first = [layer for layer in self.layers if layer.all_input_nodes[0] in inputs]
        return frozenset([*first, self.layers[-1]])


def plan(graph_module: GraphModule, skipped: Skipped, activation_bits: int = 8) -> Plan:
    """The plan for a float graph with batch norms folded. `skipped` says which operators the user keeps in float."""
    draft = _Draft(graph_module, skipped, activation_bits)
    for node in graph.operators(graph_module):
        draft.consider(node)
    draft.drop_useless()
    return draft.finish()


@dataclass
class _Draft:
    """The plan while the graph is walked."""

    graph_module: GraphModule
    skipped: Skipped
    activation_bits: int
    ends: dict[Node, Node] = field(default_factory=dict)
    """Of every quantized operator the node behind which its pair goes: itself, or its activation."""
    left: dict[Node, str] = field(default_factory=dict)

    def consider(self, node: Node) -> None:
        reason = self._reason_against(node)
        if reason:
            self.left[node] = reason
        elif not _carries_data(node):
            return
        elif role(node) is Role.ACTIVATION and (layer := self._owner_of_activation(node)):
            self.ends[layer] = self.ends[node] = node
        else:
            self.ends[node] = node

    def _reason_against(self, node: Node) -> str:
        """Why the operator stays in float; empty when it does not (or computes no float at all)."""
        if not _carries_data(node):
            return ""
        kind = role(node)
        if kind is None:
            return "no int8 form of this operator is known"
        if self.skipped(node):
            return "a rule says so"
        if self.activation_bits > 8 and graph.op_name(node) in NOT_OF_16_BITS:
            return "it has no form of 16 bits"
        if kind is Role.LAYER:
            weight = graph.constant(self.graph_module, graph.weight_node(node))
            if weight is None or weight.dtype != torch.float32:
                return "its weight is not a stored float32 tensor"
            return self._reason_against_transposed(node) if output_axis(node) else ""
        inputs = tensor_inputs(node)
        if any(source.op == "get_attr" for source in inputs):
            return "it reads a constant"
        if len(inputs) < 2 and graph.op_name(node) in TWO_INPUTS:
            return "it reads a number"
        if not inputs or not all(self._available(source) for source in inputs):
            return "an input is in float"
        return ""

    def _reason_against_transposed(self, node: Node) -> str:
        """Its output channels need an axis of the weight to themselves, for the scales to lie along."""
        if graph.arguments(node)["groups"] > 1:
            return "its groups have their output channels on one axis"
        if graph.readers(self.graph_module, graph.weight_node(node)) > 1:
            return "its weight is read by another layer, whose output channels may lie on another axis"
        return ""

    def _available(self, node: Node) -> bool:
        return node in self.ends or node.op == "placeholder" and _is_float(node)

    def _owner_of_activation(self, node: Node) -> Node | None:
        """The layer or addition whose output goes to this activation alone."""
        (source,) = tensor_inputs(node)
        fits = source.op == "call_function" and graph.op_name(source) in TAKES_ACTIVATION
        return source if fits and len(source.users) == 1 and source in self.ends else None

    def drop_useless(self) -> None:
        """Leave in float what has a quantized layer neither before nor behind it: it would gain nothing."""
        behind: set[Node] = set()
        for node in self.ends:
            if role(node) is Role.LAYER or any(source in behind for source in tensor_inputs(node)):
                behind.add(node)
        for node in reversed(list(self.ends)):
            if node not in behind and not any(user in self.ends for user in node.users):
                del self.ends[node]
                self.left[node] = "no int8 layer is near"

    def finish(self) -> Plan:
        layers = tuple(node for node in self.ends if role(node) is Role.LAYER)
        left = tuple(
            LeftInFloat(graph.layer_name(node), graph.op_name(node), reason)
            for node, reason in self.left.items()
        )
        return Plan(layers, frozenset(self.ends), self._scales(), left)

    def _scales(self) -> tuple[SharedScale, ...]:
        """One entry for all tensors that value-moving operators connect."""
        leader: dict[Node, Node] = {}

        def find(node: Node) -> Node:
            while leader.setdefault(node, node) is not node:
                node = leader[node]
            return node

        for node, end in self.ends.items():
            find(end)
            for source in tensor_inputs(node):
                source = self.ends.get(source, source)
                find(source)
                if role(node) in (Role.MOVES, Role.AVERAGES):
                    leader[find(node)] = find(source)
        groups: dict[Node, list[Node]] = {}
        for node in self.graph_module.graph.nodes:
            if node in leader and self.ends.get(node, node) is node:
                groups.setdefault(find(node), []).append(node)
        return tuple(self._shared(members) for members in groups.values())

    def _shared(self, members: list[Node]) -> SharedScale:
        tensors = tuple(node for node in members if _is_float(node))
        # Where values are only moved on, those that arrive are the ones that matter.
        observed = tuple(node for node in tensors if any(not self._moves(user) for user in node.users))
        sources = [node for node in members if not self._moves(node)]
        fixed = FIXED_RANGES.get(graph.op_name(sources[0])) if len(sources) == 1 else None
        is_input = all(node.op == "placeholder" for node in sources)
        maker = next((node for node, end in self.ends.items() if end is sources[0]), sources[0])
        return SharedScale(tensors, observed or tensors, maker, fixed, is_input)

    def _moves(self, node: Node) -> bool:
        return node in self.ends and role(node) is Role.MOVES


def _is_float(node: Node) -> bool:
    value = node.meta.get("val")
    return isinstance(value, torch.Tensor) and value.dtype == torch.float32


def _carries_data(node: Node) -> bool:
    """True for operators that yield float tensors or tuples of them: not for sizes and indices."""
    value = node.meta.get("val")
    items = value if isinstance(value, (list, tuple)) else [value]
    return any(isinstance(item, torch.Tensor) and item.is_floating_point() for item in items)
