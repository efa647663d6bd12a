"""Local response normalisation in a form in which channels can go: the sum over neighbouring channels as a 1x1 convolution.

PyTorch takes that sum by pooling over the channel axis. There a channel that goes would move its neighbours closer together. As
a convolution with ones in a band of its weight it is the same sum, and loses a row and a column with each channel, so
that what stays is normalised by what it was normalised by before, but for what is gone.
"""

from __future__ import annotations

import torch
from torch.fx import GraphModule, Node

from edgepress import graph
from edgepress.compress._channels.nodes import shape_at_batch_one, succeed

aten = torch.ops.aten

RESHAPES = ("view", "reshape", "unsqueeze", "squeeze", "alias")


def neighbours_as_layers(graph_module: GraphModule) -> bool:
    """Rewrite every mean over neighbouring channels in place, and say whether there was one; numerically nothing changes
    but for the order of sums."""
    pools = [node for node in graph.operators(graph_module) if graph.op_name(node) == "avg_pool3d"]
    rewritten = [_rewrite(graph_module, node) for node in pools]
    graph_module.graph.eliminate_dead_code()
    return any(rewritten)


def _rewrite(graph_module: GraphModule, pool: Node) -> bool:
    arguments = graph.arguments(pool)
    count, padded = arguments["kernel_size"][0], arguments["self"]
    before = _zeros_before(padded, count)
    if before is None or not _is_over_channels(arguments):
        return False
    source, end = _squeezed(padded.args[0]), _end(pool)  # type: ignore[arg-type]  # a node's arguments have no types
    if source is None or end is None or shape_at_batch_one(source) != shape_at_batch_one(end):
        return False
    channels = shape_at_batch_one(source)[1]
    distance = torch.arange(channels) - torch.arange(channels)[:, None] + before
    band = ((distance >= 0) & (distance < count)).to(pool.meta["val"].dtype) / count
    name = f"{graph.layer_name(pool)}.neighbours"
    graph.set_constant(graph_module, name, band[:, :, None, None])
    with graph_module.graph.inserting_before(end):
        weight = graph_module.graph.get_attr(name)
        weight.meta["val"] = band[:, :, None, None]
        layer = graph_module.graph.call_function(aten.conv2d.default, (source, weight))
    succeed(layer, end)
    end.replace_all_uses_with(layer)
    return True


def _zeros_before(padded: object, count: int) -> int | None:
    """How many zeros stand before the channels where `padded` has count - 1 around them and nothing else; or None."""
    if not isinstance(padded, Node) or padded.op != "call_function" or graph.op_name(padded) != "pad":
        return None
    arguments = graph.arguments(padded)
    *others, before, after = arguments["pad"]
    is_plain = arguments["mode"] == "constant" and not arguments["value"] and not any(others)
    return int(before) if is_plain and len(others) == 4 and before + after == count - 1 else None


def _is_over_channels(arguments: dict[str, object]) -> bool:
    kernel, stride, padding = (list(arguments[name]) for name in ("kernel_size", "stride", "padding"))  # type: ignore[call-overload]  # nor have these
    plain = not any(padding) and stride in ([], [1], [1, 1, 1]) and arguments["divisor_override"] is None
    return plain and kernel[1:] == [1, 1]


def _squeezed(node: Node) -> Node | None:
    """The N x C x H x W tensor that `node` is, as N x 1 x C x H x W."""
    if node.op != "call_function" or graph.op_name(node) not in RESHAPES:
        return None
    source = node.all_input_nodes[0]
    sizes = shape_at_batch_one(source)
    return source if len(sizes) == 4 and shape_at_batch_one(node) == (sizes[0], 1, *sizes[1:]) else None


def _end(pool: Node) -> Node | None:
    """The node behind `pool` that has its channels in the second place again."""
    if len(pool.users) != 1:
        return None
    (user,) = pool.users
    sizes = shape_at_batch_one(pool)
    is_end = graph.op_name(user) in RESHAPES and shape_at_batch_one(user) == (sizes[0], *sizes[2:])
    return user if is_end else None
