"""Average pools whose last windows reach beyond the input, which `ceil_mode` allows: PyTorch divides there by what lies inside.

ncnn, Paddle and ONNX Runtime's int8 kernel divide by the whole window. So the input is padded until every window fits,
and what is divided by is mended by a constant.
"""

from __future__ import annotations

import torch
from torch.fx import GraphModule, Node

from edgepress import graph
from edgepress.graph import aten
from edgepress.program import Program

POOL = aten.avg_pool2d.default


def without_overhang(program: Program) -> Program:
    """The program with such pools spelt out; itself where it has none."""
    module = program.graph_module()
    return program.replace(module) if spell_out(module) else program


def spell_out(module: GraphModule) -> int:
    """Do so in place; how many there were."""
    pools = [node for node in graph.operators(module) if node.target is POOL and _overhang(node) != (0, 0)]
    for node in pools:
        _replace(module, node)
    if pools:
        module.recompile()
    return len(pools)


def _replace(module: GraphModule, node: Node) -> None:
    given = graph.arguments(node)
    value, kernel, stride = given["self"], graph.pair(given["kernel_size"]), _stride(node)
    (down, across), (below, beside) = graph.pair(given["padding"]), _overhang(node)
    border = [across, across + beside, down, down + below]
    ones = torch.ones(1, 1, *value.meta["val"].shape[2:])
    whole = aten.avg_pool2d(aten.constant_pad_nd(ones, border), kernel, stride)
    name = f"{node.name}_inside"
    graph.set_constant(module, name, POOL(ones, *node.args[1:], **node.kwargs) / whole)
    with module.graph.inserting_before(node):
        padded = module.graph.call_function(aten.pad.default, (value, border))
        pooled = module.graph.call_function(POOL, (padded, kernel, stride))
        mended = module.graph.call_function(aten.mul.Tensor, (pooled, module.graph.get_attr(name)))
    for new in (padded, pooled, mended):
        new.meta = dict(node.meta)
    node.replace_all_uses_with(mended)
    module.graph.erase_node(node)


def _overhang(node: Node) -> tuple[int, int]:
    """The rows below and the columns beside the padded input that the last windows take in."""
    given = graph.arguments(node)
    if not given["ceil_mode"]:
        return 0, 0
    sizes = given["self"].meta["val"].shape[2:]
    windows = node.meta["val"].shape[2:]
    edges = zip(
        windows,
        _stride(node),
        graph.pair(given["kernel_size"]),
        sizes,
        graph.pair(given["padding"]),
        strict=True,
    )
    below, beside = (
        max((count - 1) * step + width - size - 2 * pad, 0) for count, step, width, size, pad in edges
    )
    return below, beside


def _stride(node: Node) -> tuple[int, int]:
    given = graph.arguments(node)
    return graph.pair(given["stride"] or given["kernel_size"])
