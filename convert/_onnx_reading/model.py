"""An ONNX model as plain data: operations in order, constants by name, and what goes in and out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.inliner
from onnx import numpy_helper

from edgepress.errors import BadInput, UnsupportedModel

OLDEST_OPSET = 11
SAME_ELSEWHERE = {("com.microsoft", type) for type in ("Gelu", "QuantizeLinear", "DequantizeLinear")}
"""What ONNX Runtime had before ONNX, and means the same."""


@dataclass(frozen=True)
class Operation:
    """One node. `inputs` and `outputs` are names of values, "" where an optional one is left out."""

    type: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Input:
    """A network input; in `shape` a free axis is None."""

    name: str
    shape: tuple[int | None, ...]
    dtype: np.dtype[Any]


@dataclass(frozen=True)
class Model:
    """`constants` are the stored tensors and whatever the file says of values beforehand."""

    operations: tuple[Operation, ...]
    constants: Mapping[str, np.ndarray]
    inputs: tuple[Input, ...]
    outputs: tuple[str, ...]
    opset: int

    def readers(self, value: str) -> list[Operation]:
        """The operations that read a value."""
        return [operation for operation in self.operations if value in operation.inputs]


def load(path: Path) -> Model:
    """Read a `.onnx` file. Raises BadInput for one that is no sound ONNX model or is older than opset 11."""
    try:
        proto = onnx.load(str(path))
        proto = onnx.inliner.inline_local_functions(proto) if proto.functions else proto
    except Exception as error:  # protobuf and missing side files each raise their own
        raise _unsound(path, str(error)) from error
    if not proto.opset_import or not proto.graph.node:
        raise _unsound(path, "it holds no graph")
    opset = max((entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx")), default=0)
    if opset < OLDEST_OPSET:
        raise BadInput(
            f"The model has opset {opset}, older than {OLDEST_OPSET}.",
            where=str(path),
            hint="onnx.version_converter.convert_version(model, 13), or export it again",
        )
    return _from_graph(proto.graph, opset)


def _unsound(path: Path, reason: str) -> BadInput:
    return BadInput(
        f"This is not a valid ONNX model: {(reason.strip().splitlines() or ['unknown'])[0]}.",
        where=str(path),
        hint="export it again; a large model needs its external data files (.data) in the same folder",
    )


def _from_graph(graph: onnx.GraphProto, opset: int) -> Model:
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    operations = []
    for number, node in enumerate(graph.node):
        attributes = {attribute.name: _plain(attribute) for attribute in node.attribute}
        if node.op_type == "Constant":
            constants[node.output[0]] = _constant(attributes)
            continue
        is_plain = node.domain in ("", "ai.onnx") or (node.domain, node.op_type) in SAME_ELSEWHERE
        operation_type = node.op_type if is_plain else f"{node.domain}.{node.op_type}"
        name = node.name or f"{node.op_type}_{number}"
        operations.append(Operation(operation_type, name, tuple(node.input), tuple(node.output), attributes))
    return Model(
        operations=tuple(operations),
        constants=constants,
        inputs=tuple(_inputs(graph, constants)),
        outputs=tuple(value.name for value in graph.output),
        opset=opset,
    )


def _inputs(graph: onnx.GraphProto, constants: Mapping[str, np.ndarray]) -> Iterator[Input]:
    for value in graph.input:
        if value.name in constants:
            continue
        if not value.type.tensor_type.elem_type:
            raise UnsupportedModel(
                f"The input {value.name!r} is not a tensor.", hint="cut the model after it"
            )
        tensor = value.type.tensor_type
        shape = tuple(axis.dim_value if axis.dim_value > 0 else None for axis in tensor.shape.dim)
        yield Input(value.name, shape, onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type))


def _plain(attribute: onnx.AttributeProto) -> Any:
    """An attribute's value in Python's types; a stored tensor as an array."""
    value = onnx.helper.get_attribute_value(attribute)
    if isinstance(value, onnx.TensorProto):
        return numpy_helper.to_array(value)
    return value.decode() if isinstance(value, bytes) else value


def _constant(attributes: Mapping[str, Any]) -> np.ndarray:
    """The value of a Constant node, in whichever of its attributes it stands."""
    ((name, value),) = attributes.items()
    kinds = {
        "value_int": np.int64,
        "value_ints": np.int64,
        "value_float": np.float32,
        "value_floats": np.float32,
    }
    return np.asarray(value, kinds.get(name))
