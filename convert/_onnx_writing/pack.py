"""Stores integers of at most 4 bits two in a byte, and those of at most 2 bits four in a byte where they are read."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np

from edgepress.convert._onnx_writing.stored import DEQUANTIZE, constant

if TYPE_CHECKING:
    import onnx_ir

READ_AT = {DEQUANTIZE: 0, "MatMulInteger": 1, "ConvInteger": 1}
"""Where operators read weights."""

INT8, UINT8 = 3, 2
"""ONNX's numbers of the types."""

OPSET_OF_TWO_BITS, IR_OF_TWO_BITS = 25, 13
"""The first in which ONNX has int2, and the version of the file that comes with it."""


def pack_small_integers(model: onnx_ir.Model) -> None:
    """Weights that fit 4 or 2 bits are stored in them, in place. Where a kernel wants bytes, a Cast stands in front of it, which
    ONNX Runtime folds while it loads the file: nothing is slower. With 2 bits the model gets the opset that has them,
    whose operators give what those of opset 21 give."""
    for node in list(model.graph):
        place = READ_AT.get(node.op_type)
        value = node.inputs[place] if place is not None else None
        if place is None or value is None or not value.is_initializer() or value.const_value is None:
            continue
        integers = value.const_value.numpy()
        in_blocks = "block_size" in node.attributes  # their kernel has no 2 bits
        kind = _kind(integers, two_bits=not in_blocks and two_bits_are_read())
        if integers.ndim < 2 or kind is None:
            continue
        packed = _stored(model, f"{value.name}/{kind}", integers, kind)
        if kind == "int2":
            model.opset_imports[""] = max(model.opset_imports[""], OPSET_OF_TWO_BITS)
            model.ir_version = max(model.ir_version, IR_OF_TWO_BITS)
        if in_blocks:
            node.replace_input_with(place, packed)
        else:
            node.replace_input_with(place, _unpacked(model, node, packed, kind))
        if not value.uses():
            del model.graph.initializers[str(value.name)]


@functools.cache
def two_bits_are_read() -> bool:
    """Whether the ONNX Runtime that is installed reads integers of 2 bits: its versions for Python 3.10 do not."""
    import ml_dtypes
    import onnx_ir
    import onnxruntime

    stored = onnx_ir.val("stored", const_value=onnx_ir.tensor(np.zeros(4, ml_dtypes.int2), name="stored"))
    cast = onnx_ir.node("Cast", [stored], {"to": INT8})
    graph = onnx_ir.Graph(
        [], cast.outputs, nodes=[cast], initializers=[stored], opset_imports={"": OPSET_OF_TWO_BITS}
    )
    file = onnx_ir.to_proto(onnx_ir.Model(graph, ir_version=IR_OF_TWO_BITS)).SerializeToString()
    try:
        onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    except Exception:  # its own classes, of which it exports none
        return False
    return True


def _kind(integers: np.ndarray, *, two_bits: bool) -> str | None:
    """The type of 4 bits, or 2, that holds these integers; None where there is none."""
    least, largest = (int(end) for end in (integers.min(initial=0), integers.max(initial=0)))
    if two_bits and integers.dtype == np.int8 and least >= -2 and largest <= 1:
        return "int2"
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
        "Cast", [packed], {"to": UINT8 if kind == "uint4" else INT8}, name=f"{packed.name}/unpack"
    )
    cast.outputs[0].name = f"{packed.name}/bytes"
    model.graph.insert_before(node, cast)
    return cast.outputs[0]
