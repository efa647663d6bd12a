"""Operators that ONNX can say better than PyTorch's exporter does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from edgepress import graph
from edgepress.graph import aten
from edgepress.program import Program


def translations(program: Program) -> dict[Callable[..., Any], Callable[..., Any]]:
    """The exporter's custom table for this program.

    An adaptive average pooling to 1x1 becomes GlobalAveragePool: runtimes have it in int8, unlike the mean,
    and lowering it may leave a gather behind.
    """
    pools = [
        node
        for node in graph.operators(program.graph_module())
        if node.target is aten.adaptive_avg_pool2d.default
    ]
    if pools and all(list(node.args[1]) == [1, 1] for node in pools):  # type: ignore[arg-type]
        return {aten.adaptive_avg_pool2d.default: _global_average_pool}
    return {}


def _global_average_pool(self: Any, output_size: Sequence[int]) -> Any:
    from onnxscript import opset18

    return opset18.GlobalAveragePool(self)
