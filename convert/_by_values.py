"""Sizes that are known only as a network runs: a mask's x[mask], the places of what is not zero."""

from __future__ import annotations

from edgepress import graph
from edgepress.convert._unsupported import UnsupportedOperator
from edgepress.program import Program

HINT = "keep every place: torch.where(mask, x, 0) in place of x[mask]; ONNX files take it as it is"


def sized_by_values(program: Program, format: str) -> tuple[UnsupportedOperator, ...]:
    """Every operator that gives such a size, none of those that only take it: for formats that plan their memory before."""
    return tuple(
        UnsupportedOperator.at(node, f"{format} takes no sizes that depend on values.", HINT)
        for node in graph.operators(program.graph_module())
        if graph.sized_by_values(node) and not any(map(graph.sized_by_values, node.all_input_nodes))
    )
