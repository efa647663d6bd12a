"""Figures that tell how well a file suits the processors of phones, for its manifest."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edgepress.convert._tflite.model import Model, Op, Operation
from edgepress.history import Value

MOST_AXES = 4
"""GPU and NPU delegates take no tensor of more, nor a TRANSPOSE in the middle: there the processor does the work."""


def quality(model: Model) -> Mapping[str, Value]:
    """Counts of operations, of transposes, of tensors with too many axes, of changes between int8 and float, and of
    operations that compute in float (0 is what a quantized file should have)."""
    return {
        "operations": len(model.operations),
        "transposes": _count(model, Op.TRANSPOSE),
        "tensors_over_4d": sum(len(tensor.shape) > MOST_AXES for tensor in model.tensors()),
        "conversions": sum(_converts(operation) for operation in model.operations),
        "float_operations": sum(_computes_float(operation) for operation in model.operations),
    }


def _count(model: Model, code: int) -> int:
    return sum(operation.code == code for operation in model.operations)


def _converts(operation: Operation) -> bool:
    """Between int8 and float, every time: a stored weight is widened once."""
    return operation.code in (Op.QUANTIZE, Op.DEQUANTIZE) and operation.inputs[0].data is None


def _computes_float(operation: Operation) -> bool:
    return operation.code != Op.DEQUANTIZE and any(tensor.dtype == np.float32 for tensor in operation.outputs)
