"""Which layers of a pruned network can be refitted, and what each of them should give."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch.fx import GraphModule, Node

from edgepress import graph
from edgepress.compress._batch_norm import norm_behind
from edgepress.compress._channels.nodes import shape_at_batch_one
from edgepress.compress._reconstruction.norm import is_settled
from edgepress.graph import aten

FITTED = (
    aten.conv1d.default,
    aten.conv2d.default,
    aten.conv2d.padding,
    aten.conv3d.default,
    aten.linear.default,
)
LARGEST_GRAM_BYTES = 512 << 20
"""Of the matrix that a layer's fit needs: 8192 inputs of float64. Where it is needed, a layer with more is not fitted."""

Orders = Mapping[tuple[str, int], np.ndarray]
"""Of each stored tensor (name, axis) that was cut: which old places are there now, in their new order."""


@dataclass(frozen=True, eq=False)
class Fit:
    """One layer of the pruned graph to refit, and its counterpart in the unpruned one.

    `outputs` are the old places of its output channels; `norm` is the batch-norm behind it that can follow the fit.
    Where the layer closes a residual join, `join` is the unpruned network's sum and `other` what the pruned
    network adds there: the layer's target is their difference (He, Zhang and Sun, 2017, section 3.3).
    """

    layer: Node
    original: Node
    outputs: np.ndarray
    norm: Node | None
    join: Node | None = None
    other: Node | None = None

    @property
    def bias(self) -> Node | None:
        """The layer's own bias."""
        node: Node | None = graph.arguments(self.layer)["bias"]
        return node

    @property
    def target(self) -> Node:
        """The node of the unpruned graph that says what the layer should give."""
        return self.original if self.join is None else self.join


@dataclass(frozen=True)
class Found:
    """The layers to refit in the order of execution, and of those that cannot be, by name, why."""

    fits: list[Fit] = field(default_factory=list)
    left: dict[str, str] = field(default_factory=dict)


def find(original: GraphModule, pruned: GraphModule, orders: Orders, sparse: frozenset[str]) -> Found:
    """Every layer that reads something else than it did: fewer channels, other layers, or what such a layer has made.

    `sparse` names the weights whose zeros have to stay.
    """
    originals = {
        graph.weight_name(node): node for node in graph.operators(original) if graph.weight_name(node)
    }
    place = {node: number for number, node in enumerate(pruned.graph.nodes)}
    read_before, read_now = _layers_read(original), _layers_read(pruned)
    changed: set[Node] = set()
    found = Found()
    for node in graph.operators(pruned):
        name = graph.weight_name(node)
        old = originals.get(name)
        has_lost = old is not None and (
            _channels_read(node) != _channels_read(old) or read_now[node] != read_before[old]
        )
        if has_lost or any(source in changed for source in node.all_input_nodes):
            changed.add(node)
        if node not in changed or not name:
            continue
        reason = _reason_to_stay(pruned, node, sparse)
        if reason or name not in originals:
            found.left[graph.layer_name(node)] = reason or "its weight is not the original's"
        else:
            found.fits.append(_fit(pruned, node, originals[name], orders, place))
    return found


def _layers_read(graph_module: GraphModule) -> dict[Node, frozenset[str]]:
    """Of each operator, the weights of the layers whose outputs reach it without passing another."""
    found: dict[Node, frozenset[str]] = {}
    for node in graph.operators(graph_module):
        names: set[str] = set()
        for source in node.all_input_nodes:
            own = graph.weight_name(source) if source.op == "call_function" else ""
            names |= {own} if own else found.get(source, frozenset())
        found[node] = frozenset(names)
    return found


def _channels_read(layer: Node) -> int:
    shape = shape_at_batch_one(graph.arguments(layer)["input"])
    return shape[-1] if layer.target is aten.linear.default else shape[1]


def _inputs(layer: Node) -> int:
    """How many inputs an output of the layer reads, as its weight says."""
    weight = graph.weight_node(layer)
    assert weight is not None
    return torch.Size(shape_at_batch_one(weight)[1:]).numel()


def gram_fits(layer: Node) -> bool:
    """Whether the matrix of second moments of what the layer reads is of a size that can be handled."""
    groups: int = graph.arguments(layer).get("groups", 1)
    return 8 * groups * _inputs(layer) ** 2 <= LARGEST_GRAM_BYTES


def _reason_to_stay(pruned: GraphModule, layer: Node, sparse: frozenset[str]) -> str:
    """Why the layer's weights stay; empty where nothing speaks against a fit."""
    weight = graph.weight_node(layer)
    assert weight is not None
    arguments = graph.arguments(layer)
    is_linear = layer.target is aten.linear.default
    if layer.target not in FITTED:
        return f"{graph.op_name(layer)} is not fitted"
    if str(weight.target) in sparse:
        return "it is sparse, and its zeros stay"
    if isinstance(arguments["bias"], Node) and graph.constant(pruned, arguments["bias"]) is None:
        return "its bias is computed in the forward"
    if any(graph.readers(pruned, node) > 1 for node in (weight, arguments["bias"])):
        return "its weights are used more than once"
    if not is_linear and len(shape_at_batch_one(arguments["input"])) != len(shape_at_batch_one(weight)):
        return "it reads a single sample without a batch"
    if not gram_fits(layer):
        return f"with {_inputs(layer)} inputs its fit would need more than {LARGEST_GRAM_BYTES >> 20} MiB"
    return ""


def _fit(pruned: GraphModule, layer: Node, original: Node, orders: Orders, place: Mapping[Node, int]) -> Fit:
    weight = graph.weight_node(layer)
    assert weight is not None
    outputs = orders.get((str(weight.target), 0))
    if outputs is None:
        outputs = np.arange(shape_at_batch_one(weight)[0])
    norm, old_norm = norm_behind(layer), norm_behind(original)
    if norm is not None and not (_is_per_output(layer) and is_settled(pruned, norm)):
        return Fit(layer, original, outputs, None)
    join, old_join = _sum(norm or layer), _sum(old_norm or original)
    other = None if join is None else _other(join, norm or layer, place, place[layer])
    if other is None or old_join is None:
        return Fit(layer, original, outputs, norm)
    return Fit(layer, original, outputs, norm, old_join, other)


def _is_per_output(layer: Node) -> bool:
    """Whether a batch-norm's channels are the layer's outputs: not so behind a linear layer over the last of three axes."""
    return layer.target is not aten.linear.default or len(shape_at_batch_one(layer)) == 2


def _sum(node: Node) -> Node | None:
    reader = graph.only_reader(node)
    return reader if reader is not None and reader.target is aten.add.Tensor else None


def _other(join: Node, branch: Node, place: Mapping[Node, int], until: int) -> Node | None:
    """What is added to `branch`, where it is a tensor of that shape computed before place `until`."""
    others = [source for source in join.all_input_nodes if source is not branch]
    if len(others) != 1 or graph.arguments(join)["alpha"] != 1 or others[0].op == "get_attr":
        return None
    is_alike = shape_at_batch_one(others[0]) == shape_at_batch_one(branch)
    return others[0] if is_alike and place[others[0]] < until else None
