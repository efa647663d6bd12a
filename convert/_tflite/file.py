"""From a Model to the bytes of a `.tflite` file (a flatbuffer of the schema that ships with LiteRT)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edgepress.convert._tflite.model import INT4, Model, Op, Operation, Quantization, Tensor

SCHEMA_VERSION = 3
IDENTIFIER = b"TFL3"
SIGNATURE_KEY = "serving_default"
DATA_ALIGNMENT_BYTES = 16

TENSOR_TYPES = {
    np.dtype(np.float32): schema.TensorType.FLOAT32,
    np.dtype(np.float16): schema.TensorType.FLOAT16,
    INT4: schema.TensorType.INT4,
    np.dtype(np.int8): schema.TensorType.INT8,
    np.dtype(np.int16): schema.TensorType.INT16,
    np.dtype(np.uint8): schema.TensorType.UINT8,
    np.dtype(np.int32): schema.TensorType.INT32,
    np.dtype(np.int64): schema.TensorType.INT64,
    np.dtype(np.bool_): schema.TensorType.BOOL,
}

UNVERSIONED = {
    Op.QUANTIZE, Op.PRELU, Op.HARD_SWISH, Op.GELU, Op.ELU, Op.BATCH_MATMUL, Op.RESHAPE, Op.RELU_N1_TO_1,
}  # fmt: skip
"""Operations whose first version takes int8 already; the others took it up in their second."""
INT8_VERSIONS = {Op.CONV_2D: 3, Op.DEPTHWISE_CONV_2D: 3, Op.FULLY_CONNECTED: 4}
LINEAR_BY_CHANNEL = 10
"""Of linear layers in int8 with a scale for each channel. TFLite has no version that says so: it reads them from 2.13 on, as it
does this one. Before, it took them for layers with one scale, and gave zeros without a word (seen in 2.9)."""

LONG_SHAPES = {Op.PAD: (4, 4), Op.PADV2: (4, 4), Op.TRANSPOSE: (4, 6)}
"""Of tensors with five axes, and with more."""

WEIGHTED_VERSIONS = {
    Op.CONV_2D: (7, 5, 8), Op.DEPTHWISE_CONV_2D: (7, 6, 5), Op.FULLY_CONNECTED: (10, 12, 11),
}  # fmt: skip
"""Of layers with 4-bit weights, with integer weights and floats, and with int16 activations."""
INT16_VERSIONS = {
    Op.ADD: 4, Op.SUB: 5, Op.MUL: 4, Op.AVERAGE_POOL_2D: 3, Op.MAX_POOL_2D: 3, Op.CONCATENATION: 3, Op.TRANSPOSE: 5,
    Op.SLICE: 4, Op.MEAN: 3, Op.PAD: 3, Op.PADV2: 3, Op.GATHER: 4, Op.SPLIT: 4, Op.QUANTIZE: 3, Op.DEQUANTIZE: 2,
    Op.STRIDED_SLICE: 4, Op.RELU: 3, Op.MAXIMUM: 4, Op.MINIMUM: 4, Op.RESIZE_NEAREST_NEIGHBOR: 4,
}  # fmt: skip


def serialize(model: Model) -> bytes:
    """The file's bytes. Equal constants share one buffer; names are made unique with `:2`, `:3` ..."""
    tensors = model.tensors()
    index = {tensor: position for position, tensor in enumerate(tensors)}
    buffers = _Buffers()
    names = _unique(tensor.name for tensor in tensors)
    codes = list(dict.fromkeys((operation.code, _version(operation)) for operation in model.operations))

    graph = schema.SubGraphT()
    graph.name = "main"
    graph.tensors = [_tensor(tensor, name, buffers) for tensor, name in zip(tensors, names, strict=True)]
    graph.inputs = [index[tensor] for _, tensor in model.inputs]
    graph.outputs = [index[tensor] for _, tensor in model.outputs]
    graph.operators = [
        _operator(operation, codes.index((operation.code, _version(operation))), index)
        for operation in model.operations
    ]
    root = schema.ModelT()
    root.version = SCHEMA_VERSION
    root.description = "edgepress"
    root.subgraphs = [graph]
    root.buffers = buffers.found
    root.operatorCodes = [_operator_code(code, version) for code, version in codes]
    root.signatureDefs = [_signature(model, index)]
    builder = flatbuffers.Builder(sum(buffer.size_bytes for buffer in buffers.found) + (1 << 16))
    builder.Finish(root.Pack(builder), IDENTIFIER)
    return bytes(builder.Output())


class _AlignedBuffer(schema.BufferT):  # type: ignore[misc]  # the schema has no types
    """A buffer whose data begins on a 16-byte boundary, as the schema asks and its Python code does not do."""

    @property
    def size_bytes(self) -> int:
        return 0 if self.data is None else len(self.data) + DATA_ALIGNMENT_BYTES

    def Pack(self, builder: flatbuffers.Builder) -> int:
        data = None
        if self.data is not None:
            builder.StartVector(1, len(self.data), DATA_ALIGNMENT_BYTES)
            builder.head = builder.head - len(self.data)
            builder.Bytes[builder.head : builder.head + len(self.data)] = self.data
            data = builder.EndVector()
        schema.BufferStart(builder)
        if data is not None:
            schema.BufferAddData(builder, data)
        return int(schema.BufferEnd(builder))


class _Buffers:
    """The file's buffers; number 0 is the empty one of everything that is computed."""

    def __init__(self) -> None:
        self.found = [_AlignedBuffer()]
        self._numbers: dict[bytes, int] = {}

    def number(self, data: np.ndarray | None) -> int:
        if data is None:
            return 0
        content = np.ascontiguousarray(_packed(data) if data.dtype == INT4 else data).tobytes()
        if content not in self._numbers:
            buffer = _AlignedBuffer()
            buffer.data = content
            self._numbers[content] = len(self.found)
            self.found.append(buffer)
        return self._numbers[content]


def _packed(data: np.ndarray) -> np.ndarray:
    """Two 4-bit integers in each byte, the first in its lower half."""
    flat = data.astype(np.int8).reshape(-1).view(np.uint8) & 15
    pairs = np.pad(flat, (0, flat.size % 2)).reshape(-1, 2)
    packed: np.ndarray = pairs[:, 0] | pairs[:, 1] << 4
    return packed


def _tensor(tensor: Tensor, name: str, buffers: _Buffers) -> Any:
    made = schema.TensorT()
    made.name = name
    made.shape = list(tensor.shape)
    made.type = TENSOR_TYPES[tensor.dtype]
    made.buffer = buffers.number(tensor.data)
    made.quantization = _quantization(tensor.quantization)
    made.hasRank = True
    return made


def _quantization(quantization: Quantization | None) -> Any:
    if quantization is None:
        return None
    made = schema.QuantizationParametersT()
    made.scale = list(quantization.scales)
    made.zeroPoint = list(quantization.zero_points)
    made.quantizedDimension = quantization.axis
    return made


def _operator(operation: Operation, code: int, index: dict[Tensor, int]) -> Any:
    made = schema.OperatorT()
    made.opcodeIndex = code
    made.inputs = [index[tensor] for tensor in operation.inputs]
    made.outputs = [index[tensor] for tensor in operation.outputs]
    if operation.options is not None:
        made.builtinOptions = operation.options
        kind = type(operation.options).__name__.removesuffix("T")
        made.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
    return made


def _operator_code(code: int, version: int) -> Any:
    made = schema.OperatorCodeT()
    made.builtinCode = code
    made.deprecatedBuiltinCode = min(code, Op.PLACEHOLDER_FOR_GREATER_OP_CODES)
    made.version = version
    return made


def _signature(model: Model, index: dict[Tensor, int]) -> Any:
    made = schema.SignatureDefT()
    made.signatureKey = SIGNATURE_KEY
    made.inputs = [_tensor_map(name, index[tensor]) for name, tensor in model.inputs]
    made.outputs = [_tensor_map(name, index[tensor]) for name, tensor in model.outputs]
    return made


def _tensor_map(name: str, index: int) -> Any:
    made = schema.TensorMapT()
    made.name, made.tensorIndex = name, index
    return made


def _first_version(operation: Operation) -> int:
    """Of an operation between floats, int8 and whole numbers."""
    code, options, first = operation.code, operation.options, operation.inputs[0]
    int8 = any(tensor.dtype == np.int8 for tensor in operation.inputs)
    if code == Op.BROADCAST_TO:
        return 3 if int8 else 2
    if code in LONG_SHAPES and len(first.shape) > 4:
        return LONG_SHAPES[code][len(first.shape) > 5]
    if code == Op.DEQUANTIZE and first.dtype == np.float16:
        return 3
    if code == Op.GATHER and options.batchDims:
        return 5
    if code == Op.CONV_2D and first.shape[3] != operation.inputs[1].shape[3]:
        return 6
    by_channel = len(operation.inputs) > 1 and _has_scales_by_channel(operation.inputs[1])
    if code == Op.FULLY_CONNECTED and (by_channel or options.keepNumDims):
        return LINEAR_BY_CHANNEL if by_channel else 5
    if code in (Op.RESIZE_BILINEAR, Op.RESIZE_NEAREST_NEIGHBOR) and options.halfPixelCenters:
        return 3
    if code == Op.TRANSPOSE_CONV:
        return 4 if options.fusedActivationFunction else 3
    if int8:
        return INT8_VERSIONS.get(code, 1 if code in UNVERSIONED else 2)
    dilated = code == Op.DEPTHWISE_CONV_2D and (options.dilationHFactor, options.dilationWFactor) != (1, 1)
    return 2 if dilated else 1


def _has_scales_by_channel(tensor: Tensor) -> bool:
    return tensor.quantization is not None and len(tensor.quantization.scales) > 1


def _version(operation: Operation) -> int:
    """The first version of the operation that does this: an older runtime then refuses the file
    instead of misreading it."""
    return _version_of_small_integers(operation) or _first_version(operation)


def _version_of_small_integers(operation: Operation) -> int:
    """Of what came after plain int8: 4-bit weights, floats times integers, and activations of 16 bits; 0 otherwise."""
    code, first = operation.code, operation.inputs[0]
    if code in WEIGHTED_VERSIONS:
        int4, hybrid, int16 = WEIGHTED_VERSIONS[code]
        weight = operation.inputs[1].dtype
        if first.dtype == np.int16:
            return int16
        if weight == INT4:
            return max(int4, hybrid) if first.dtype == np.float32 else int4
        is_hybrid = first.dtype == np.float32 and weight == np.int8
        return max(hybrid, _first_version(operation)) if is_hybrid else 0
    if code == Op.DEQUANTIZE and _has_scales_by_channel(first):
        return 6 if first.dtype == INT4 else 5
    if any(tensor.dtype == np.int16 for tensor in (*operation.inputs, *operation.outputs)):
        return INT16_VERSIONS.get(code, 0)
    return 0


def _unique(names: Iterable[str]) -> list[str]:
    seen: dict[str, int] = {}
    unique = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        unique.append(name if seen[name] == 1 else f"{name}:{seen[name]}")
    return unique
