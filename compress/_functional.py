"""Replaces operators that write into their input (relu_, add_) by those that make a new tensor."""

from __future__ import annotations

from torch.fx import GraphModule, Node

from edgepress import graph
from edgepress.errors import UnsupportedModel
from edgepress.graph import aten

FUNCTIONAL = {
    aten.relu_.default: aten.relu.default,
    aten.relu6_.default: aten.relu6.default,
    aten.hardtanh_.default: aten.hardtanh.default,
    aten.clamp_.default: aten.clamp.default,
    aten.clamp_min_.default: aten.clamp_min.default,
    aten.hardswish_.default: aten.hardswish.default,
    aten.hardsigmoid_.default: aten.hardsigmoid.default,
    aten.leaky_relu_.default: aten.leaky_relu.default,
    aten.elu_.default: aten.elu.default,
    aten.silu_.default: aten.silu.default,
    aten.sigmoid_.default: aten.sigmoid.default,
    aten.tanh_.default: aten.tanh.default,
    aten.dropout_.default: aten.dropout.default,
    aten.add_.Tensor: aten.add.Tensor,
    aten.add_.Scalar: aten.add.Scalar,
    aten.sub_.Tensor: aten.sub.Tensor,
    aten.mul_.Tensor: aten.mul.Tensor,
    aten.mul_.Scalar: aten.mul.Scalar,
    aten.div_.Tensor: aten.div.Tensor,
}


ALIASES = (aten.detach.default, aten.detach_.default, aten.alias.default)
"""What hands on the very tensor it is given: torch.tensor() in a forward leaves one behind."""


def make_functional(graph_module: GraphModule) -> None:
    """Rewrite the graph in place; its results stay as they are. Aliases and copies of constants go.

    Raises UnsupportedModel for an operator that writes into its input and has no known twin, and where
    the tensor written into is a view: its base changes too, which a new tensor would not do.
    """
    _leave_out(graph_module, ALIASES)
    order = {node: position for position, node in enumerate(graph_module.graph.nodes)}
    for node in graph.operators(graph_module):
        schema = getattr(node.target, "_schema", None)
        if schema is None or not schema.is_mutable:
            continue
        written = node.args[0]
        if node.target not in FUNCTIONAL or not isinstance(written, Node) or _is_view(written):
            raise UnsupportedModel(
                f"The operator {graph.op_name(node)} changes its input in place.",
                where=f"layer {graph.layer_name(node)} | {graph.source_line(node)}",
                hint="use the variant that returns a new tensor",
            )
        node.target = FUNCTIONAL[node.target]
        for user in [user for user in written.users if order[user] > order[node]]:
            user.replace_input_with(written, node)
    # Only now: an operator that wrote into the copy would have written into the constant.
    _leave_out(graph_module, (aten.lift_fresh_copy.default,))


def _leave_out(graph_module: GraphModule, targets: tuple[object, ...]) -> None:
    """Let the readers of these nodes read what the nodes read."""
    for node in list(graph.operators(graph_module)):
        if node.target in targets:
            node.replace_all_uses_with(node.args[0])  # type: ignore[arg-type]  # what they read is a node
            graph_module.graph.erase_node(node)


def _is_view(node: Node) -> bool:
    """True when the tensor shares its memory with another one that is read elsewhere too."""
    schema = getattr(node.target, "_schema", None)
    if schema is None or not any(result.alias_info is not None for result in schema.returns):
        return False
    return any(len(base.users) > 1 or _is_view(base) for base in node.all_input_nodes)
