"""Which operators can work on int8, and how their output's scale comes about: the one table of it."""

from __future__ import annotations

from enum import Enum

from torch.fx import Node

from edgepress import graph
from edgepress.compress._quantization.ranges import Range


class Role(Enum):
    """What an operator does to the scale of what passes through."""

    LAYER = "has a weight; its output has a scale of its own"
    ACTIVATION = "belongs to the layer or the addition before it; the scale comes after it"
    COMPUTES = "its output has a scale of its own"
    MOVES = "the values stay what they are, and so does the scale"
    AVERAGES = "keeps the scale, but makes new values between the old ones, none of them halfway"


ROLES = {
    **dict.fromkeys(("conv1d", "conv2d", "conv_transpose2d", "linear"), Role.LAYER),
    **dict.fromkeys(("relu", "relu6", "hardtanh", "clamp", "clamp_min"), Role.ACTIVATION),
    **dict.fromkeys(("add", "sub", "mul", "mean", "avg_pool2d", "adaptive_avg_pool2d"), Role.COMPUTES),
    **dict.fromkeys(("hardswish", "hardsigmoid", "leaky_relu", "sigmoid", "tanh", "silu"), Role.COMPUTES),
    **dict.fromkeys(("max_pool2d", "adaptive_max_pool2d", "cat", "pad", "constant_pad_nd"), Role.MOVES),
    **dict.fromkeys(("view", "reshape", "_unsafe_view", "flatten", "squeeze", "unsqueeze"), Role.MOVES),
    **dict.fromkeys(("slice", "select", "chunk", "split", "split_with_sizes", "getitem"), Role.MOVES),
    **dict.fromkeys(("permute", "transpose", "t", "index_select", "pixel_shuffle", "channel_shuffle"), Role.MOVES),
    **dict.fromkeys(("dropout", "identity", "alias", "clone", "contiguous", "upsample_nearest2d"), Role.MOVES),
}  # fmt: skip

TAKES_ACTIVATION = frozenset({"conv1d", "conv2d", "conv_transpose2d", "linear", "add"})

TWO_INPUTS = frozenset({"add", "sub", "mul"})

FIXED_RANGES = {"sigmoid": Range(0.0, 255 / 256), "tanh": Range(-1.0, 127 / 128)}
"""Where integer kernels take one scale only (1/256 and 1/128), whatever the data."""

NOT_OF_16_BITS = frozenset({"hardswish", "hardsigmoid", "sigmoid", "tanh", "silu"})
"""What no runtime has a kernel for that takes activations of 16 bits with any scale."""


def role(node: Node) -> Role | None:
    """The operator's role; None when it works on floats alone."""
    name = graph.op_name(node)
    if name in ("pad", "constant_pad_nd") and graph.arguments(node).get("value") not in (None, 0, 0.0):
        return None
    if name in ("add", "sub") and graph.arguments(node).get("alpha", 1) != 1:
        return None
    if averages_windows(node) and _divides_oddly(node):
        return Role.AVERAGES
    return ROLES.get(name)


def averages_windows(node: Node) -> bool:
    """Whether the operator averages parts of a picture; to a single pixel it is a mean."""
    name = graph.op_name(node)
    return name == "avg_pool2d" or name == "adaptive_avg_pool2d" and graph.shape(node)[-2:] != (1, 1)


def _divides_oddly(node: Node) -> bool:
    """Whether each window of a pooling (but for those that a border cuts) divides by an odd number.

    By an even one, many averages fall halfway between two integers of the old scale, where some runtimes round to the even
    one and some away from zero, a whole step apart; with a scale of its own hardly any does.
    """
    given = graph.arguments(node)
    if "kernel_size" in given:
        height, width = graph.pair(given["kernel_size"])
        return bool((given["divisor_override"] or height * width) % 2)
    sizes = zip(given["self"].meta["val"].shape[-2:], given["output_size"], strict=True)
    return all(old % new == 0 and old // new % 2 for old, new in sizes)


def tensor_inputs(node: Node) -> list[Node]:
    """The nodes whose values flow through the operator: not its weights, sizes and indices."""
    first = node.args[0] if node.args else None
    found = list(first) if isinstance(first, (list, tuple)) else [first]
    if graph.op_name(node) in TWO_INPUTS:
        found.append(node.args[1])
    return [item for item in found if isinstance(item, Node)]
