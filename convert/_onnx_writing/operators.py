"""Operators that ONNX can say better than PyTorch's exporter does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.fx import GraphModule, Node

from edgepress import graph
from edgepress.graph import aten
from edgepress.program import Program


def translations(program: Program) -> dict[Callable[..., Any], Callable[..., Any]]:
    """The exporter's custom table for this program.

    An adaptive average pooling to 1x1 becomes GlobalAveragePool: runtimes have it in int8, unlike the mean,
    and lowering it may leave a gather behind. A weight with several scales an output becomes a DequantizeLinear of
    blocks. A stable sort is TopK of all there is, which puts the first of equal ones first. Attention under a mask asks
    the mask which rows see nothing, where the exporter asks for NaN, which MNN cannot and which finds none, or not at all.
    """
    found: dict[Callable[..., Any], Callable[..., Any]] = {
        graph.DEQUANTIZE_GROUPS: _dequantize_blocks,
        aten.sort.stable: _stable_sort,
    }
    graph_module = program.graph_module()
    operators = list(graph.operators(graph_module))
    pools = [node for node in operators if node.target is aten.adaptive_avg_pool2d.default]
    if _hides_rows(graph_module, operators):
        found[aten.scaled_dot_product_attention.default] = _masked_attention
    if pools and all(list(node.args[1]) == [1, 1] for node in pools):  # type: ignore[arg-type]  # the operator's sizes are a list
        found[aten.adaptive_avg_pool2d.default] = _global_average_pool
    return found


def _hides_rows(graph_module: GraphModule, operators: Sequence[Node]) -> bool:
    """Whether an attention has a mask of truth values, or one of numbers with rows that may be minus infinity alone."""
    masks = [
        graph.arguments(node)["attn_mask"]
        for node in operators
        if node.target is aten.scaled_dot_product_attention.default
    ]
    stored = {mask: graph.constant(graph_module, mask) for mask in masks if mask is not None}
    return any(
        values is None or values.dtype == torch.bool or bool((values == -torch.inf).all(-1).any())
        for values in stored.values()
    )


def _masked_attention(  # noqa: PLR0913  the arguments are PyTorch's
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Any:
    """Of a mask of truth values, 0 is added where true and the lowest number where false, and of one of numbers no less; a
    row that sees nothing gives zeros, as in PyTorch."""
    import onnx_ir
    from onnxscript import opset18
    from onnxscript.function_libs.torch_lib.ops.nn import aten_scaled_dot_product_attention as attention

    options = (dropout_p, is_causal, scale, enable_gqa)
    if attn_mask is None:
        return attention(query, key, value, attn_mask, *options)
    zero, lowest = (
        opset18.Constant(value=onnx_ir.tensor(number, dtype=query.dtype)) for number in (0.0, query.dtype.min)
    )
    is_truth = attn_mask.dtype == onnx_ir.DataType.BOOL
    shown = attn_mask if is_truth else opset18.GreaterOrEqual(attn_mask, lowest)
    hidden = opset18.Where(shown, zero, lowest)
    summand = hidden if is_truth else opset18.Max(attn_mask, lowest)
    seen = attention(query, key, value, summand, *options)
    sees = opset18.Equal(opset18.ReduceMax(hidden, opset18.Constant(value_ints=[-1])), zero)
    return opset18.Where(sees, seen, zero)


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
