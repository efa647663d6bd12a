"""Passes over a finished list of operations: what became superfluous goes, and weights can become float16."""

from __future__ import annotations

import numpy as np

from edgepress.convert._tflite.draft import options
from edgepress.convert._tflite.model import Model, Op, Operation, Tensor

WEIGHTED = {Op.CONV_2D, Op.DEPTHWISE_CONV_2D, Op.FULLY_CONNECTED}
"""Operations whose second and third inputs are weight and bias."""
LARGEST_FLOAT16 = float(np.finfo(np.float16).max)


def tidied(model: Model) -> Model:
    """The model without reshapes of reshapes or of means, and without operations that nobody reads."""
    producers = {operation.outputs[0]: operation for operation in model.operations}
    for operation in model.operations:
        if operation.code == Op.RESHAPE:
            _read_through_reshapes(operation, producers)
    for operation in model.operations:
        if operation.code == Op.RESHAPE:
            _reduce_to_shape(operation, producers)
    _drop_flat_reshapes(model)
    _drop_unread(model)
    return model


def with_half_weights(model: Model) -> Model:
    """Weights and biases of layers as float16 behind a DEQUANTIZE, unless one of them is too large for it."""
    halves: dict[Tensor, Tensor] = {}
    before: list[Operation] = []
    for operation in model.operations:
        if operation.code not in WEIGHTED:
            continue
        for position in (1, 2):
            tensor = operation.inputs[position]
            if tensor not in halves and _fits_float16(tensor):
                halves[tensor] = _halved(tensor, before)
            operation.inputs[position] = halves.get(tensor, tensor)
    model.operations[:0] = before
    return model


def with_widened_weights(model: Model) -> Model:
    """Integer weights of layers that read floats go through a DEQUANTIZE, which runs once."""
    widened: dict[Tensor, Tensor] = {}
    before: list[Operation] = []
    for operation in model.operations:
        if operation.code in WEIGHTED and operation.inputs[0].dtype == np.float32:
            weight = operation.inputs[1]
            if weight.quantization is not None and weight not in widened:
                widened[weight] = _widened(weight, before)
            operation.inputs[1] = widened.get(weight, weight)
    model.operations[:0] = before
    return model


def _halved(tensor: Tensor, before: list[Operation]) -> Tensor:
    assert tensor.data is not None
    half = Tensor(tensor.name, tensor.shape, np.dtype(np.float16), tensor.data.astype(np.float16))
    return _widened(half, before)


def _widened(stored: Tensor, before: list[Operation]) -> Tensor:
    widened = Tensor(f"{stored.name}/dequantize", stored.shape, np.dtype(np.float32))
    before.append(Operation(Op.DEQUANTIZE, [stored], [widened], options("DequantizeOptions")))
    return widened


def _fits_float16(tensor: Tensor) -> bool:
    data = tensor.data
    return (
        data is not None and data.dtype == np.float32 and bool(np.abs(data).max(initial=0) <= LARGEST_FLOAT16)
    )


def _read_through_reshapes(operation: Operation, producers: dict[Tensor, Operation]) -> None:
    """Let a reshape read what the reshapes before it read."""
    source = operation.inputs[0]
    while (producer := producers.get(source)) is not None and producer.code == Op.RESHAPE:
        source = producer.inputs[0]
    operation.inputs[0] = source


def _reduce_to_shape(operation: Operation, producers: dict[Tensor, Operation]) -> None:
    """Let a reshape that only drops the kept axes of a mean be that mean without them."""
    mean = producers.get(operation.inputs[0])
    if mean is None or mean.code != Op.MEAN or not mean.options.keepDims:
        return
    source, axes = mean.inputs
    assert axes.data is not None
    left = tuple(size for axis, size in enumerate(source.shape) if axis not in axes.data)
    if operation.outputs[0].shape == left:
        operation.code, operation.inputs = Op.MEAN, [source, axes]
        operation.options = options("ReducerOptions", keepDims=False)


def _drop_flat_reshapes(model: Model) -> None:
    """A reshape to the shape that is there already is its input, unless it copies an input to an output."""
    outputs = {tensor for _, tensor in model.outputs}
    same = {
        operation.outputs[0]: operation.inputs[0]
        for operation in model.operations
        if operation.code == Op.RESHAPE
        and operation.inputs[0].shape == operation.outputs[0].shape
        and operation.outputs[0] not in outputs
    }
    for operation in model.operations:
        operation.inputs = [same.get(tensor, tensor) for tensor in operation.inputs]


def _drop_unread(model: Model) -> None:
    read = {tensor for _, tensor in model.outputs}
    kept: list[Operation] = []
    for operation in reversed(model.operations):
        if any(tensor in read for tensor in operation.outputs):
            kept.append(operation)
            read.update(operation.inputs)
    model.operations[:] = reversed(kept)
