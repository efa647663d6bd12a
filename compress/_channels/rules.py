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
from edgepress.compress._channels import rules_recurrent as recurrent
from edgepress.compress._channels import rules_weighted as weighted
from edgepress.compress._channels.labels import Flow, Labeller, Labelling, Parts
from edgepress.compress._channels.nodes import COPYING, FILLED_LIKE, RECURRENT
from edgepress.compress._channels.rule import Rule, freeze, unknown
from edgepress.compress._channels.rules_rearranging import copying

POINTWISE = frozenset(
    {"dropout", "expand_as", "feature_dropout", "hardswish", "log_sigmoid", "relu6", "to", "_to_copy"}
    | FILLED_LIKE
)
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
    {
        "mean", "sum", "amax", "amin", "var", "std", "softmax", "log_softmax", "_softmax", "prod", "logsumexp", "norm",
        "linalg_vector_norm", "max", "min", "median", "aminmax", "std_mean", "var_mean", "topk", "sort", "cumsum",
        "cumprod", "roll", "unfold",
    }
)  # fmt: skip
"""Operators that work along the axes that they name, each entry of the others by itself."""

RULES: dict[str, Rule] = {
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), weighted.convolution),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), weighted.convolution),
    "linear": weighted.linear,
    "batch_norm": weighted.per_channel("weight", "bias", "running_mean", "running_var"),
    "instance_norm": weighted.per_channel("weight", "bias", "running_mean", "running_var"),
    "prelu": weighted.per_channel("weight"),
    "group_norm": weighted.group_norm,
    "embedding": weighted.embedding,
    **dict.fromkeys(RECURRENT, recurrent.recurrent),
    "getitem": plain.part,
    **dict.fromkeys(("layer_norm", "rms_norm"), plain.layer_norm),
    "cat": plain.cat,
    "slice": plain.slice,
    "index_select": plain.index_select,
    "pad": plain.pad,
    "constant_pad_nd": plain.pad,
    **dict.fromkeys(WINDOWS, plain.window),
    **dict.fromkeys(REDUCTIONS, plain.reduction),
    "im2col": plain.patches,
    "col2im": plain.pictures,
    "grid_sampler": plain.sampled,
    **dict.fromkeys(COPYING, copying),
    **dict.fromkeys(("matmul", "mm", "bmm"), products.matmul),
    **dict.fromkeys(("addmm", "baddbmm"), products.added_matmul),
    "einsum": products.einsum,
    "scaled_dot_product_attention": products.attention,
}
"""By the operator's name. Any other pointwise operator is `plain.pointwise`, and the rest `unknown`."""


def label(graph_module: GraphModule, parts: Parts = "auto", rules: Mapping[str, Rule] = RULES) -> Labelling:
    """Label the channels of a normalised graph by `rules`.

    Where channels are divided into parts, as into heads and the places within each, or into groups, labels follow
    the one or the other as `parts` says; where that lets nothing go, the other, if that lets anything go.
    """
    choices: dict[Node, int] = {}
    settled: set[Node] = set()
    while True:
        labelling = _labelled(graph_module, choices, parts, rules)
        stuck = {
            node: (split.chosen + 1) % split.ways
            for node, split in labelling.splits.items()
            if node not in settled
            and all(number in labelling.reasons for number in labelling.classes_of(node).tolist())
        }
        if not stuck:
            return labelling
        # A view of the groups' channels that takes the wrong way would let none of them go either way.
        views = {node: way for node, way in stuck.items() if node.target not in graph.CONVOLUTIONS}
        choices.update(views or stuck)
        settled.update(node for node, way in (views or stuck).items() if way == 0)


def _labelled(
    graph_module: GraphModule, choices: Mapping[Node, int], parts: Parts, rules: Mapping[str, Rule]
) -> Labelling:
    labeller = Labeller(graph_module, choices, parts)
    for node in graph_module.graph.nodes:
        if node.op == "call_function":
            found = _rule(node, rules)(labeller, node)
            if found is not None:
                labeller.set(node, *found)
        elif node.op == "output":
            for source in node.all_input_nodes:
                freeze(labeller, source, "its channels are the network's output")
            labeller.set(node, None, Flow.FIXED)
        else:
            labeller.set(node, None, Flow.KEEPS)
    return labeller.resolve()


def _rule(node: Node, rules: Mapping[str, Rule]) -> Rule:
    name = graph.op_name(node)
    if name in rules:
        return rules[name]
    if torch.Tag.pointwise in getattr(node.target, "tags", ()) or name in POINTWISE:
        return plain.pointwise
    return unknown
