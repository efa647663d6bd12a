"""The rule for each operator, and the walk that labels a graph with them.

An operator without a rule freezes whatever reaches it, with the reason.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch.fx import GraphModule, Node

from edgepress import graph
from edgepress.compress._channels import rules_plain as plain
from edgepress.compress._channels import rules_products as products
from edgepress.compress._channels import rules_weighted as weighted
from edgepress.compress._channels.labels import Flow, Labeller, Labelling
from edgepress.compress._channels.nodes import COPYING
from edgepress.compress._channels.rule import Rule, freeze, unknown
from edgepress.compress._channels.rules_rearranging import copying

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
RULES: dict[str, Rule] = {
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), weighted.convolution),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), weighted.convolution),
    "linear": weighted.linear,
    "batch_norm": weighted.per_channel("weight", "bias", "running_mean", "running_var"),
    "instance_norm": weighted.per_channel("weight", "bias", "running_mean", "running_var"),
    "prelu": weighted.per_channel("weight"),
    "group_norm": weighted.group_norm,
    "embedding": weighted.embedding,
    **dict.fromkeys(("lstm", "gru", "rnn_tanh", "rnn_relu"), weighted.recurrent),
    **dict.fromkeys(("layer_norm", "rms_norm"), plain.layer_norm),
    "cat": plain.cat,
    "slice": plain.slice,
    "index_select": plain.index_select,
    "pad": plain.pad,
    "constant_pad_nd": plain.pad,
    **dict.fromkeys(WINDOWS, plain.window),
    **dict.fromkeys(REDUCTIONS, plain.reduction),
    **dict.fromkeys(COPYING, copying),
    **dict.fromkeys(("matmul", "mm", "bmm"), products.matmul),
    **dict.fromkeys(("addmm", "baddbmm"), products.added_matmul),
    "einsum": products.einsum,
    "scaled_dot_product_attention": products.attention,
}
"""By the operator's name. Any other pointwise operator is `plain.pointwise`, and the rest `unknown`."""


def label(graph_module: GraphModule) -> Labelling:
    """Label the channels of a normalised graph.

    Where channels are spread over several axes, as over heads and the places within each, the outermost keeps
    labels; where that lets nothing go, the next one.
    """
    choices: dict[Node, int] = {}
    while True:
        labelling = _labelled(graph_module, choices)
        stuck = [
            node
            for node, split in labelling.splits.items()
            if split.chosen + 1 < len(split.axes)
            and all(number in labelling.reasons for number in labelling.classes_of(node).tolist())
        ]
        if not stuck:
            return labelling
        choices.update({node: labelling.splits[node].chosen + 1 for node in stuck})


def _labelled(graph_module: GraphModule, choices: Mapping[Node, int]) -> Labelling:
    labeller = Labeller(graph_module, choices)
    for node in graph_module.graph.nodes:
        if node.op == "call_function":
            found = _rule(node)(labeller, node)
            if found is not None:
                labeller.set(node, *found)
        elif node.op == "output":
            for source in node.all_input_nodes:
                freeze(labeller, source, "its channels are the network's output")
            labeller.set(node, None, Flow.FIXED)
        else:
            labeller.set(node, None, Flow.KEEPS)
    return labeller.resolve()


def _rule(node: Node) -> Rule:
    name = graph.op_name(node)
    if name in RULES:
        return RULES[name]
    if torch.Tag.pointwise in getattr(node.target, "tags", ()) or name in POINTWISE:
        return plain.pointwise
    return unknown
