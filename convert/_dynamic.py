"""Takes out what makes a layer's input integers while the network runs, for formats that say it in their own way."""

from __future__ import annotations

from torch.fx import GraphModule

from edgepress.graph import DEQUANTIZE_DYNAMIC, arguments, operators


def take_dynamic(graph_module: GraphModule) -> None:
    """Let every layer read the float tensor, in place."""
    found = [node for node in operators(graph_module) if node.target is DEQUANTIZE_DYNAMIC]
    if not found:
        return
    for node in found:
        quantized = arguments(node)["input"]
        node.replace_all_uses_with(arguments(quantized)["input"])
    # An input stays, read or not: the signature names it.
    graph_module.graph.eliminate_dead_code(is_impure_node=lambda node: node.op in ("placeholder", "output"))
