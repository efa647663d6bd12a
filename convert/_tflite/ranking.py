"""Places of extremes, sorting, running sums, looking up along an axis, turning round and repeating."""

from __future__ import annotations

import math

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edgepress.convert._tflite.calls import Call
from edgepress.convert._tflite.draft import Draft, Value, lower, options
from edgepress.convert._tflite.layout import reordered, reshaped
from edgepress.convert._tflite.model import Op, Tensor
from edgepress.convert._tflite.quantize import WHOLE_TYPES, as_float, cast_to, read, whole
from edgepress.convert._tflite.slices import sliced
from edgepress.graph import aten


@lower(aten.argmax.default, aten.argmin.default, int8="moves")
def place_of_extreme(call: Call, draft: Draft) -> Value:
    """ARG_MAX or ARG_MIN, of which the first is meant where several are the same."""
    value, dim = draft.value(call.source), call.arguments["dim"]
    if dim is None:
        value, dim = reshaped(draft, value, (math.prod(value.shape),)), 0
    axis, keep = value.axis(dim), call.arguments["keepdim"]
    left = [place for place in range(len(value.order)) if place != axis]
    shape = [value.tensor.shape[place] for place in left]
    is_largest = call.target is aten.argmax.default
    kind = options("ArgMaxOptions" if is_largest else "ArgMinOptions", outputType=schema.TensorType.INT64)
    code = Op.ARG_MAX if is_largest else Op.ARG_MIN
    made = draft.give(code, [value.tensor, draft.int32(axis)], shape, np.int64, kind)
    kept = sorted(value.order[place] for place in left)
    found = Value(made, tuple(kept.index(value.order[place]) for place in left))
    return reshaped(draft, found, call.result) if keep else found


@lower(aten.topk.default, int8="moves")
def topk(call: Call, draft: Draft) -> list[Value]:
    values = call.arguments
    return _sorted(call, draft, values["dim"], values["k"], largest=values["largest"])


@lower(aten.sort.default, aten.sort.stable, int8="moves")
def sort(call: Call, draft: Draft) -> list[Value]:
    values = call.arguments
    dim = values["dim"] % len(call.result)
    return _sorted(call, draft, dim, call.result[dim], largest=values["descending"])


def _sorted(call: Call, draft: Draft, dim: int, count: int, *, largest: bool) -> list[Value]:
    """TOPK_V2 along the last axis: of equal ones, the first comes first. The smallest are the largest negatives."""
    value = draft.value(call.source)
    if not largest:
        value = _negative(draft, as_float(draft, value))
    rank = len(value.order)
    dim %= rank
    value = reordered(draft, value, (*(axis for axis in range(rank) if axis != dim), dim))
    shape = (*value.tensor.shape[:-1], count)
    number = draft.constant(np.array(count, np.int32))
    found = draft.move(Op.TOPK_V2, [value.tensor, number], shape, options("TopKV2Options"))
    places = Tensor(f"{call.layer}/places", shape, np.dtype(np.int32))
    draft.producers[found].outputs.append(places)
    draft.producers[places] = draft.producers[found]
    made = value.holding(found)
    return [
        made if largest else _negative(draft, made),
        cast_to(draft, value.holding(places), np.int64),
    ]


def _negative(draft: Draft, value: Value) -> Value:
    tensor = value.tensor
    return value.holding(draft.give(Op.NEG, [tensor], tensor.shape, tensor.dtype, options("NegOptions")))


@lower(aten.cumsum.default)
def running_sum(call: Call, draft: Draft) -> Value:
    kind = WHOLE_TYPES.get(draft.result_type())
    value = read(draft, call.source) if kind is None else whole(draft, call.source, kind)
    made = options("CumsumOptions", exclusive=False, reverse=False)
    inputs = [value.tensor, draft.constant(np.array(value.axis(call.arguments["dim"]), np.int32))]
    return value.holding(draft.give(Op.CUMSUM, inputs, value.tensor.shape, kind or np.float32, made))


@lower(aten.gather.default, int8="moves")
def gather(call: Call, draft: Draft) -> Value:
    """GATHER along the last axis, row by row: the rows are those of the index."""
    value, index = draft.value(call.source), draft.value(call.arguments["index"])
    rank = len(value.order)
    dim = call.arguments["dim"] % rank
    order = (*(axis for axis in range(rank) if axis != dim), dim)
    value, index = reordered(draft, value, order), reordered(draft, index, order)
    rows = (*index.tensor.shape[:-1], value.tensor.shape[-1])
    data = sliced(draft, value.tensor, [0] * rank, rows)
    made = options("GatherOptions", axis=rank - 1, batchDims=rank - 1)
    return Value(draft.move(Op.GATHER, [data, index.tensor], index.tensor.shape, made), order)


@lower(aten.flip.default, int8="moves")
def flip(call: Call, draft: Draft) -> Value:
    """REVERSE_V2, axis by axis: its kernel takes only neighbours at once."""
    value = draft.value(call.source)
    for dim in call.arguments["dims"]:
        inputs = [value.tensor, draft.int32(value.axis(dim))]
        made = draft.move(Op.REVERSE_V2, inputs, value.tensor.shape, options("ReverseV2Options"))
        value = value.holding(made)
    return value


@lower(aten.repeat.default, aten.tile.default, int8="moves")
def repeat(call: Call, draft: Draft) -> Value:
    """TILE, in the plain order where axes come in front."""
    value = draft.value(call.source)
    counts = call.arguments["repeats" if "repeats" in call.arguments else "dims"]
    rank = len(call.result)
    counts = [1] * (rank - len(counts)) + list(counts)
    if rank > len(value.order):
        value = reshaped(draft, value, (*[1] * (rank - len(value.order)), *value.shape))
    inputs = [value.tensor, draft.int32(*(counts[axis] for axis in value.order))]
    shape = [call.result[axis] for axis in value.order]
    return value.holding(draft.move(Op.TILE, inputs, shape, options("TileOptions")))
