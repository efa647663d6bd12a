"""Stores integers of at most 4 bits two in a byte."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgepress.convert._onnx_writing.stored import DEQUANTIZE, constant

if TYPE_CHECKING:
    import onnx_ir

READ_AT = {DEQUANTIZE: 0, "MatMulInteger": 1, "ConvInteger": 1}
"""Where operators read weights."""

INT8, UINT8 = 3, 2
"""ONNX's numbers of the types."""


def pack_small_integers(model: onnx_ir.Model) -> None:
    """Weights that fit 4 bits are stored in them, in place. Where a kernel wants bytes, a Cast stands in front of it, which
    ONNX Runtime folds while it loads the file: nothing is slower."""
    for node in list(model.graph):
        place = READ_AT.get(node.op_type)
        value = node.inputs[place] if place is not None else None
        if place is None or value is None or not value.is_initializer() or value.const_value is None:
            continue
        integers = value.const_value.numpy()
        kind = _kind(integers)
        if integers.ndim < 2 or kind is None:
            continue
        packed = _stored(model, f"{value.name}/{kind}", integers, kind)
        if "block_size" in node.attributes:
            node.replace_input_with(place, packed)
        else:
            node.replace_input_with(place, _unpacked(model, node, packed, kind))
        if not value.uses():
            del model.graph.initializers[str(value.name)]


def _kind(integers: np.ndarray) -> str | None:
    """The type of 4 bits that holds these integers; None where there is none."""
    least, largest = (int(end) for end in (integers.min(initial=0), integers.max(initial=0)))
    if integers.dtype == np.int8 and least >= -8 and largest <= 7:
        return "int4"
    return "uint4" if integers.dtype == np.uint8 and largest <= 15 else None


def _stored(model: onnx_ir.Model, name: str, integers: np.ndarray, kind: str) -> onnx_ir.Value:
    import ml_dtypes

    if name in model.graph.initializers:
        return model.graph.initializers[name]
    return constant(model, name, integers.astype(getattr(ml_dtypes, kind)))


def _unpacked(model: onnx_ir.Model, node: onnx_ir.Node, packed: onnx_ir.Value, kind: str) -> onnx_ir.Value:
    import onnx_ir

    cast = onnx_ir.node(
        "Cast", [packed], {"to": INT8 if kind == "int4" else UINT8}, name=f"{packed.name}/unpack"
    )
    cast.outputs[0].name = f"{packed.name}/bytes"
    model.graph.insert_before(node, cast)
    return cast.outputs[0]
