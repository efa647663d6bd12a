"""How many multiply-accumulates an operator of the captured graph does, at batch 1."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch.fx import GraphModule, Node

from edgepress import graph

Shape = tuple[int, ...]

SAME_MEMORY = frozenset(
    {
        "view", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze", "getitem", "dropout", "dropout_",
        "feature_dropout", "alpha_dropout", "contiguous", "alias", "detach", "detach_", "lift_fresh_copy",
        "quantize_per_tensor", "dequantize_per_tensor", "choose_qparams",
    }
)  # fmt: skip
"""Operators that hand on the tensor they are given, in evaluation."""

NO_MULTIPLICATIONS = frozenset(
    {
        "batch_norm", "layer_norm", "group_norm", "instance_norm", "native_layer_norm", "rms_norm",
        "native_group_norm", "softmax", "log_softmax", "_softmax", "_log_softmax", "hardswish", "hardswish_",
        "prelu", "relu6_", "selu", "celu",
        "max_pool1d", "max_pool2d", "max_pool3d", "max_pool2d_with_indices", "avg_pool1d", "avg_pool2d",
        "avg_pool3d", "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d",
        "adaptive_max_pool1d", "adaptive_max_pool2d", "_adaptive_avg_pool2d",
        "upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d", "upsample_bilinear2d",
        "upsample_bicubic2d", "cat", "concat", "stack", "chunk", "split", "split_with_sizes", "tensor_split",
        "unbind", "slice", "select", "narrow", "transpose", "permute", "t", "numpy_T", "swapaxes", "movedim",
        "expand", "expand_as", "repeat", "repeat_interleave", "pad", "constant_pad_nd", "reflection_pad2d",
        "replication_pad2d", "index_select", "index", "gather", "embedding", "roll", "flip", "tril", "triu",
        "channel_shuffle", "pixel_shuffle", "pixel_unshuffle", "zeros_like", "ones_like", "to", "type_as",
        "_to_copy", "copy_", "topk", "sort", "cumsum",
    }
)  # fmt: skip
"""Operators whose work is not multiply-accumulate, beside PyTorch's own `pointwise` and `reduction` ones:
normalisation, pooling, resizing, and whatever only moves values."""


def count(node: Node) -> int | None:
    """Multiply-accumulates of one operator at batch 1; None when nothing is known about it."""
    name, tags = graph.op_name(node), getattr(node.target, "tags", ())
    if name in COUNTERS:
        return COUNTERS[name](node, graph.arguments(node))
    is_free = torch.Tag.pointwise in tags or torch.Tag.reduction in tags
    return 0 if is_free or name in NO_MULTIPLICATIONS or name in SAME_MEMORY else None


def total(graph_module: GraphModule) -> int:
    """Multiply-accumulates of all operators at batch 1; those that nothing is known about count as none."""
    return sum(count(node) or 0 for node in graph.operators(graph_module))


def shapes(node: Any) -> tuple[Shape, ...]:
    """The shapes of the tensors that the node returns, at batch 1; none where it returns numbers."""
    value = node.meta.get("val") if isinstance(node, Node) else None
    tensors = value if isinstance(value, tuple | list) else (value,)
    return tuple(
        tuple(graph.at_batch_one(size) for size in tensor.shape)
        for tensor in tensors
        if isinstance(tensor, torch.Tensor)
    )


def elements(node: Node) -> int:
    """The elements of all tensors that the node returns, at batch 1."""
    return sum(math.prod(shape) for shape in shapes(node))


def _convolution_macs(node: Node, arguments: dict[str, Any]) -> int:
    weight = shapes(arguments["weight"])[0]
    spatial = len(weight) - 2
    return math.prod(shapes(node)[0][-spatial:]) * math.prod(weight)


def _transposed_macs(node: Node, arguments: dict[str, Any]) -> int:
    weight = shapes(arguments["weight"])[0]
    spatial = len(weight) - 2
    return math.prod(shapes(arguments["input"])[0][-spatial:]) * math.prod(weight)


def _general_convolution_macs(node: Node, arguments: dict[str, Any]) -> int:
    return (_transposed_macs if arguments["transposed"] else _convolution_macs)(node, arguments)


def _linear_macs(node: Node, arguments: dict[str, Any]) -> int:
    return elements(node) * shapes(arguments["weight"])[0][-1]


def _product_macs(node: Node, arguments: dict[str, Any]) -> int:
    """Of a matrix product, whose left factor has one of several names; its last axis is summed over."""
    left = next(arguments[name] for name in ("mat1", "batch1", "self") if name in arguments)
    return elements(node) * shapes(left)[0][-1]


def _attention_macs(node: Node, arguments: dict[str, Any]) -> int:
    query, key = shapes(arguments["query"])[0], shapes(arguments["key"])[0]
    scores = math.prod(query[:-1]) * key[-2]
    return scores * (query[-1] + shapes(arguments["value"])[0][-1])


def _recurrent_macs(node: Node, arguments: dict[str, Any]) -> int:
    """Of LSTM and GRU layers: each weight matrix once a step."""
    steps = math.prod(shapes(arguments["input"])[0][:-1])
    matrices = [shape for weight in arguments["params"] for shape in shapes(weight) if len(shape) == 2]
    return steps * sum(map(math.prod, matrices))


COUNTERS: dict[str, Callable[[Node, dict[str, Any]], int]] = {
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), _convolution_macs),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), _transposed_macs),
    "convolution": _general_convolution_macs,
    "linear": _linear_macs,
    **dict.fromkeys(("matmul", "mm", "bmm", "addmm", "baddbmm"), _product_macs),
    "scaled_dot_product_attention": _attention_macs,
    **dict.fromkeys(("lstm", "gru", "rnn_tanh", "rnn_relu"), _recurrent_macs),
}
