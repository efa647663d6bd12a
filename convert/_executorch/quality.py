"""How much of a lowered network the XNNPACK delegate executes, and what stays in float, for a file's manifest."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from torch.fx import GraphModule, Node

from edgepress.history import Value

if TYPE_CHECKING:
    from executorch.exir import EdgeProgramManager

FUSED = ("relu", "hardtanh", "clamp")
"""Activations that an int8 operator takes into itself."""

CONVERSIONS = ("quantize_per_tensor", "dequantize_per_tensor", "dequantize_per_channel")


def quality(edge: EdgeProgramManager, *, is_quantized: bool) -> Mapping[str, Value]:
    """Counts of delegates (one is best: each is entered with a copy) and of operators outside of them; for a quantized
    network also of those that compute in float, in it and outside. And which these are, by name."""
    module = edge.exported_program().graph_module
    delegates = [
        getattr(module, str(node.target)).original_module.graph_module
        for node in module.graph.nodes
        if node.op == "get_attr" and hasattr(getattr(module, str(node.target)), "original_module")
    ]
    outside = list(_operators(module))
    found: dict[str, Value] = {"delegates": len(delegates), **_counted("outside_delegate", outside)}
    if is_quantized:
        inside = [node for delegate in delegates for node in _operators(delegate)]
        found |= _counted("in_float", [*outside, *(node for node in inside if not _computes_int8(node))])
    return found


def _counted(name: str, nodes: Sequence[Node]) -> dict[str, Value]:
    kinds = ", ".join(sorted({_name(node) for node in nodes}))
    return {name: len(nodes)} | ({f"{name}_operators": kinds} if kinds else {})


def _operators(module: GraphModule) -> Iterator[Node]:
    """What computes: no delegate, no entry of its results, and no change between int8 and float."""
    for node in module.graph.nodes:
        if node.op == "call_function" and node.target is not operator.getitem:
            name = _name(node)
            if name not in CONVERSIONS and "delegate" not in name:
                yield node


def _computes_int8(node: Node) -> bool:
    """Whether the delegate has fused the node with the change to int8 behind it, or with an activation that is."""
    from executorch.backends.xnnpack.utils.quant_utils import is_quant, is_tagged_as_implicit_q_dq

    readers = list(node.users)
    if len(readers) == 1 and _name(readers[0]) in FUSED:
        readers = list(readers[0].users)
    return len(readers) == 1 and bool(is_quant(readers[0])) and bool(is_tagged_as_implicit_q_dq(readers[0]))


def _name(node: Node) -> str:
    """`mean` for aten.mean.dim of the edge dialect."""
    names = str(getattr(node.target, "__name__", node.target)).split(".")
    return names[1] if len(names) > 1 else names[0]
