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
    and lowering it may leave a gather behind. A weight with several scales an output becomes a DequantizeLinear of
    blocks. A stable sort is TopK of all there is, which puts the first of equal ones first.
    """
    found: dict[Callable[..., Any], Callable[..., Any]] = {
        graph.DEQUANTIZE_GROUPS: _dequantize_blocks,
        aten.sort.stable: _stable_sort,
    }
    pools = [
        node
        for node in graph.operators(program.graph_module())
        if node.target is aten.adaptive_avg_pool2d.default
    ]
    if pools and all(list(node.args[1]) == [1, 1] for node in pools):  # type: ignore[arg-type]
        found[aten.adaptive_avg_pool2d.default] = _global_average_pool
    return found


def _global_average_pool(self: Any, output_size: Sequence[int]) -> Any:
    from onnxscript import opset18

    return opset18.GlobalAveragePool(self)


def _stable_sort(self: Any, *, stable: bool | None = None, dim: int = -1, descending: bool = False) -> Any:
    from onnxscript import opset18

    count = opset18.Shape(self, start=-1) if dim == -1 else opset18.Shape(self, start=dim, end=dim + 1)
    return opset18.TopK(self, count, axis=dim, largest=int(descending), sorted=1)


def _dequantize_blocks(  # noqa: PLR0913  the arguments are PyTorch's
    input: Any,
    scales: Any,
    zero_points: Any,
    quant_min: int,
    quant_max: int,
    dtype: int,
    group_size: int,
    output_dtype: int,
) -> Any:
    """Without the zero points: those of weights are zero."""
    from onnxscript import opset21

    return opset21.DequantizeLinear(input, scales, axis=1, block_size=group_size)
