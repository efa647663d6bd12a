"""Comparisons, masks and the choice between two tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.fx import Node

from edgepress.convert._tflite.arithmetic import at_rank, in_one_order
from edgepress.convert._tflite.calls import Call
from edgepress.convert._tflite.draft import Draft, Value, lower, options
from edgepress.convert._tflite.model import Op, Tensor
from edgepress.convert._tflite.quantize import WHOLE_TYPES, as_float, cast_to, read, whole
from edgepress.convert._tflite.reductions import over_axes
from edgepress.graph import aten, op_name

COMPARISONS: dict[Callable[..., Any], tuple[int, str]] = {
    target: (code, kind)
    for code, kind, targets in (
        (Op.GREATER, "GreaterOptions", (aten.gt.Tensor, aten.gt.Scalar)),
        (Op.GREATER_EQUAL, "GreaterEqualOptions", (aten.ge.Tensor, aten.ge.Scalar)),
        (Op.LESS, "LessOptions", (aten.lt.Tensor, aten.lt.Scalar)),
        (Op.LESS_EQUAL, "LessEqualOptions", (aten.le.Tensor, aten.le.Scalar)),
        (Op.EQUAL, "EqualOptions", (aten.eq.Tensor, aten.eq.Scalar)),
        (Op.NOT_EQUAL, "NotEqualOptions", (aten.ne.Tensor, aten.ne.Scalar)),
    )
    for target in targets
}
NOT = (aten.logical_not.default, aten.bitwise_not.default)
BOTH: dict[Callable[..., Any], tuple[int, str]] = {
    aten.logical_and.default: (Op.LOGICAL_AND, "LogicalAndOptions"),
    aten.bitwise_and.Tensor: (Op.LOGICAL_AND, "LogicalAndOptions"),
    aten.__and__.Tensor: (Op.LOGICAL_AND, "LogicalAndOptions"),
    aten.logical_or.default: (Op.LOGICAL_OR, "LogicalOrOptions"),
    aten.bitwise_or.Tensor: (Op.LOGICAL_OR, "LogicalOrOptions"),
    aten.__or__.Tensor: (Op.LOGICAL_OR, "LogicalOrOptions"),
    aten.logical_xor.default: (Op.NOT_EQUAL, "NotEqualOptions"),
    aten.bitwise_xor.Tensor: (Op.NOT_EQUAL, "NotEqualOptions"),
}
CASTS = (aten.to.dtype, aten.to.dtype_layout, aten._to_copy.default)


@lower(*COMPARISONS)
def compare(call: Call, draft: Draft) -> Value:
    """Truth values, from float32 or from whole numbers of one kind."""
    code, kind = COMPARISONS[call.target]
    left, right = (_operand(draft, item, call) for item in (call.source, call.arguments["other"]))
    return _emitted(draft, call, code, kind, [left, right], np.dtype(np.bool_))


@lower(*NOT)
def negate(call: Call, draft: Draft) -> Value:
    value = _truth(draft, call.source)
    made = Tensor(f"{call.layer}/not", value.tensor.shape, np.dtype(np.bool_))
    return value.holding(draft.emit(Op.LOGICAL_NOT, [value.tensor], made, options("LogicalNotOptions")))


@lower(*BOTH)
def combine(call: Call, draft: Draft) -> Value:
    code, kind = BOTH[call.target]
    values = [_truth(draft, item) for item in (call.source, call.arguments["other"])]
    return _emitted(draft, call, code, kind, values, np.dtype(np.bool_))


@lower(
    aten.any.default, aten.any.dim, aten.any.dims, aten.all.default, aten.all.dim, aten.all.dims,
)  # fmt: skip
def quantify(call: Call, draft: Draft) -> Value:
    """REDUCE_ANY and REDUCE_ALL."""
    code = Op.REDUCE_ANY if op_name(call.node) == "any" else Op.REDUCE_ALL
    return over_axes(call, draft, code, _truth(draft, call.source))


@lower(aten.where.self, aten.where.ScalarOther, aten.where.ScalarSelf)
def where(call: Call, draft: Draft) -> Value:
    mask = _truth(draft, call.source)
    return _selected(draft, call, mask, call.arguments["self"], call.arguments["other"])


@lower(aten.masked_fill.Scalar, aten.masked_fill_.Scalar, aten.masked_fill.Tensor)
def masked_fill(call: Call, draft: Draft) -> Value:
    mask = _truth(draft, call.arguments["mask"])
    return _selected(draft, call, mask, call.arguments["value"], call.source)


@lower(*CASTS)
def cast(call: Call, draft: Draft) -> Value:
    """Between float32, whole numbers and truth values; every other real type counts as float32."""
    value = as_float(draft, draft.value(call.source))
    wanted = call.node.meta["val"].dtype
    kind = (
        np.float32
        if wanted.is_floating_point
        else np.bool_
        if wanted == torch.bool
        else WHOLE_TYPES.get(wanted)
    )
    if kind is None:
        raise draft.unsupported(
            f"The TFLite writer has no cast of {value.tensor.dtype} to {str(wanted).removeprefix('torch.')}.",
            "cast to float32, int32, int64 or bool",
        )
    return cast_to(draft, value, kind)


def _selected(draft: Draft, call: Call, mask: Value, yes: Any, no: Any) -> Value:
    """SELECT_V2, which broadcasts."""
    kind = np.bool_ if draft.result_type() == torch.bool else WHOLE_TYPES.get(draft.result_type())
    values = [read(draft, item) if kind is None else whole(draft, item, kind) for item in (yes, no)]
    return _emitted(
        draft, call, Op.SELECT_V2, "SelectV2Options", [mask, *values], np.dtype(kind or np.float32)
    )


def _emitted(
    draft: Draft, call: Call, code: int, kind: str, values: list[Value], dtype: np.dtype[Any]
) -> Value:
    """The operation over the values, brought to one rank and one order."""
    rank = len(call.result)
    values = in_one_order(draft, [at_rank(draft, value, rank) for value in values])
    order = values[0].order
    shape = tuple(call.result[axis] for axis in order)
    made = Tensor(f"{call.layer}/{kind.removesuffix('Options').lower()}", shape, dtype)
    return Value(draft.emit(code, [value.tensor for value in values], made, options(kind)), order)


def _operand(draft: Draft, item: Any, call: Call) -> Value:
    """What is compared, in the type of the tensor it is compared with."""
    if isinstance(item, Node) and draft.value(item).tensor.dtype.kind == "i":
        value = draft.value(item)
        return value if value.tensor.quantization is None else read(draft, item)
    dtype = draft.value(call.source).tensor.dtype
    if (
        not isinstance(item, Node)
        and dtype.kind == "i"
        and draft.value(call.source).tensor.quantization is None
    ):
        return Value(draft.constant(np.array(item, dtype)), ())
    return read(draft, item)


def _truth(draft: Draft, item: Any) -> Value:
    value = draft.value(item)
    if value.tensor.dtype != np.bool_:
        raise draft.unsupported("This mask holds no truth values.", "compare it first: mask != 0")
    return value
