"""Local response normalisation with the sum over neighbouring channels as a 1x1 convolution.

PyTorch takes that sum by pooling over the channel axis of a volume, which many runtimes lack. A convolution with ones in a
band of its weight gives the same, and every runtime has it. Channels can go from it, too: where pooling would move the neighbours
of one that goes closer together, the convolution loses a row and a column, so that what stays is normalised by
what it was normalised by before, but for what is gone.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.fx import GraphModule, Node

from edgepress import graph
from edgepress.graph import aten

RESHAPES = ("view", "reshape", "unsqueeze", "squeeze", "alias")


def neighbours_as_layers(graph_module: GraphModule) -> bool:
    """Rewrite every mean over neighbouring channels in place, and say whether there was one; numerically nothing changes
    but for the order of sums."""
    pools = [node for node in graph.operators(graph_module) if graph.op_name(node) == "avg_pool3d"]
    rewritten = [_rewrite(graph_module, node) for node in pools]
    graph_module.graph.eliminate_dead_code()
    graph_module.recompile()
    return any(rewritten)


def _rewrite(graph_module: GraphModule, pool: Node) -> bool:
    arguments = graph.arguments(pool)
    count, padded = arguments["kernel_size"][0], _moved(arguments["self"])
    before = _zeros_before(padded, count)
    if before is None or not _is_over_channels(arguments):
        return False
    source, end = _squeezed(_moved(padded.args[0])), _end(pool)
    if source is None or end is None or graph.shape(source) != graph.shape(end):
        return False
    value = source.meta["val"]
    distance = torch.arange(value.shape[1]) - torch.arange(value.shape[1])[:, None] + before
    band = ((distance >= 0) & (distance < count)).to(value.dtype)[:, :, None, None] / count
    name = f"{graph.layer_name(pool)}.neighbours"
    graph.set_constant(graph_module, name, band)
    with graph_module.graph.inserting_before(end):
        weight = graph_module.graph.get_attr(name)
        layer = graph_module.graph.call_function(aten.conv2d.default, (source, weight))
    weight.meta["val"] = band
    layer.meta = dict(end.meta)
    end.replace_all_uses_with(layer)
    return True


def _moved(node: Any) -> Any:
    """What the node rounds to int8, where that only moves entries which were rounded so before; else the node itself."""
    rounded = node.args[0] if isinstance(node, Node) and node.target is graph.DEQUANTIZE else None
    if not isinstance(rounded, Node) or rounded.target is not graph.QUANTIZE:
        return node
    value: Any = rounded.args[0]
    before = value.args[0] if graph.op_name(value) in (*RESHAPES, "pad") else None
    is_same = (
        isinstance(before, Node) and before.target is graph.DEQUANTIZE and before.args[1:] == node.args[1:]
    )
    return value if is_same else node


def _zeros_before(padded: Any, count: int) -> int | None:
    """How many zeros stand before the channels where `padded` has count - 1 around them and nothing else; or None."""
    if not isinstance(padded, Node) or padded.op != "call_function" or graph.op_name(padded) != "pad":
        return None
    arguments = graph.arguments(padded)
    *others, before, after = arguments["pad"]
    is_plain = arguments["mode"] == "constant" and not arguments["value"] and not any(others)
    return int(before) if is_plain and len(others) == 4 and before + after == count - 1 else None


def _is_over_channels(arguments: dict[str, Any]) -> bool:
    kernel, stride, padding = (list(arguments[name]) for name in ("kernel_size", "stride", "padding"))
    plain = not any(padding) and stride in ([], [1], [1, 1, 1]) and arguments["divisor_override"] is None
    return plain and kernel[1:] == [1, 1]


def _squeezed(node: Node) -> Node | None:
    """The N x C x H x W tensor that `node` is, as N x 1 x C x H x W."""
    if node.op != "call_function" or graph.op_name(node) not in RESHAPES:
        return None
    source = node.all_input_nodes[0]
    sizes = graph.shape(source)
    return source if len(sizes) == 4 and graph.shape(node) == (sizes[0], 1, *sizes[1:]) else None


def _end(pool: Node) -> Node | None:
    """The last node behind `pool` that has its channels in the second place again and nothing else changed."""
    sizes, node, end = graph.shape(pool), pool, None
    while len(node.users) == 1:
        (node,) = node.users
        if graph.op_name(node) not in RESHAPES or graph.shape(node) != (sizes[0], *sizes[2:]):
            break
        end = node
    return end
