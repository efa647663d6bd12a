"""The file while it is being written: what the lowering of an operator reads and emits through."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from ai_edge_litert import schema_py_generated as schema
from torch.fx import GraphModule, Node

from edgepress.convert._tflite.calls import Call
from edgepress.convert._tflite.model import OP_NAMES, Model, Op, Operation, Quantization, Tensor
from edgepress.errors import UnsupportedModel
from edgepress.graph import at_batch, constant, layer_name, op_name, source_line
from edgepress.quantized_form import QuantizedForm

Int8 = Literal["never", "computes", "moves"]
"""How an operator takes int8: not at all; with a scale of its own for the result; or in the scale that comes in."""


@dataclass(frozen=True, eq=False)
class Value:
    """A tensor of the network in the file.

    Axis i of the file's tensor is the network's axis `order[i]`. `features`, where set, says that entry j of the
    last axis is the network's feature `features[j]`: only linear layers, which permute their weights, read such.
    """

    tensor: Tensor
    order: tuple[int, ...]
    features: np.ndarray | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape as the network has it."""
        return tuple(self.tensor.shape[self.order.index(axis)] for axis in range(len(self.order)))

    def axis(self, axis: int) -> int:
        """Where the file has the network's `axis` (negative counts from the end)."""
        return self.order.index(axis % len(self.order))

    def holding(self, tensor: Tensor) -> Value:
        """The same layout with another tensor."""
        return dataclasses.replace(self, tensor=tensor)


@dataclass(frozen=True)
class Lowering:
    """How one operator becomes operations of the file."""

    write: Callable[[Call, Draft], Value | list[Value]]
    int8: Int8
    fuses: bool


LOWERINGS: dict[Callable[..., Any], Lowering] = {}
"""The operators that the writer knows."""

Write = Callable[[Call, "Draft"], Value | list[Value]]


def lower(
    *targets: Callable[..., Any], int8: Int8 = "never", fuses: bool = False
) -> Callable[[Write], Write]:
    """Register a function as the lowering of the ATen operators `targets`."""

    def register(write: Write) -> Write:
        for target in targets:
            LOWERINGS[target] = Lowering(write, int8, fuses)
        return write

    return register


@dataclass(frozen=True)
class Stored:
    """How integer weights lie in the file where their layer computes in float: as `floats`; as integers that will be
    `widened` before, once the list of operations is finished; or as integers that the kernel will `read`, which makes its
    input integers, too. `packed`: those of 4 bits two in a byte."""

    weights: Literal["floats", "widened", "read"]
    packed: bool

    @classmethod
    def of(cls, form: QuantizedForm | None, packed: bool) -> Stored:
        activations = form.activations if form is not None else "int8"
        if activations == "float":
            return cls("widened", packed)
        return cls("read" if activations == "dynamic" else "floats", packed)


COMBINING = {
    Op.ADD: "AddOptions", Op.SUB: "SubOptions", Op.MUL: "MulOptions", Op.DIV: "DivOptions", Op.POW: "PowOptions",
    Op.MAXIMUM: "MaximumMinimumOptions", Op.MINIMUM: "MaximumMinimumOptions", Op.FLOOR_MOD: "FloorModOptions",
    Op.ATAN2: "ATan2Options",
}  # fmt: skip
"""Operations of two tensors, and the schema's options of each."""


class Draft:
    """Collects operations. `values` and `lists` (of what gives several) are by node; `int8` says whether the
    current call computes in int8."""

    def __init__(self, graph_module: GraphModule, stored: Stored) -> None:
        self.graph_module = graph_module
        self.stored = stored
        self.model = Model()
        self.values: dict[Node, Value] = {}
        self.lists: dict[Node, list[Value]] = {}
        self.producers: dict[Tensor, Operation] = {}
        self.int8 = False
        self._call: Call | None = None
        self._made: dict[tuple[object, ...], Tensor] = {}

    def begin(self, call: Call, int8: bool) -> None:
        self._call, self.int8 = call, int8

    def value(self, node: Node) -> Value:
        """What the node gives, in whatever dtype and order the file has it; a constant is float and plain."""
        if node in self.values:
            return self.values[node]
        array = self.array(node)
        assert array is not None, "every node is lowered before it is read"
        return Value(self.constant(array, str(node.target)), tuple(range(array.ndim)))

    def stand_in(self, call: Call, batch: int) -> None:
        """Give a call that cannot be written values of the right shapes, so that those behind it can be looked at."""
        value = call.node.meta["val"]
        self.lists[call.node] = [
            _stand_in(call.layer, part, batch)
            for part in (value if isinstance(value, (list, tuple)) else [value])
        ]
        for node in call.covers:
            self.values[node] = self.lists[call.node][0]

    def array(self, node: Node | None) -> np.ndarray | None:
        """The constant behind a `get_attr` node; float64 becomes float32."""
        found = constant(self.graph_module, node)
        if found is None:
            return None
        array = found.detach().cpu().numpy()
        return array.astype(np.float32) if array.dtype in (np.float64, np.float16) else array

    def constant(self, array: np.ndarray, name: str = "", quantization: Quantization | None = None) -> Tensor:
        array = np.ascontiguousarray(array)
        return Tensor(name or f"{self._layer()}/constant", array.shape, array.dtype, array, quantization)

    def int32(self, *values: int) -> Tensor:
        """A vector of sizes, axes or offsets."""
        return self.constant(np.array(values, np.int32))

    def compute(
        self, code: int, inputs: Sequence[Tensor], shape: Sequence[int], options: Any = None,
        quantization: Quantization | None = None,
    ) -> Tensor:  # fmt: skip
        """Emit an operation whose result is float32, or integers with `quantization` (else the call's) in an int8 call."""
        assert self._call is not None
        code_of = (quantization or self._call.quantization) if self.int8 else None
        dtype = np.dtype(np.float32) if code_of is None else code_of.dtype
        return self.emit(
            code, inputs, Tensor(self._name(code), tuple(shape), dtype, quantization=code_of), options
        )

    def give(
        self, code: int, inputs: Sequence[Tensor], shape: Sequence[int], dtype: Any, options: Any = None
    ) -> Tensor:
        """Emit an operation whose result is of this type and without a code: whole numbers, truth values, floats."""
        return self.emit(code, inputs, Tensor(self._name(code), tuple(shape), np.dtype(dtype)), options)

    def result_type(self) -> torch.dtype:
        """The type of what the current operator gives; of several tensors, the first."""
        assert self._call is not None
        value = self._call.node.meta["val"]
        found: torch.dtype = (value[0] if isinstance(value, (list, tuple)) else value).dtype
        return found

    def code_type(self) -> np.dtype[Any]:
        """The type of the integers that the current call computes in."""
        assert self._call is not None
        code = self._call.quantization
        return np.dtype(np.int8) if code is None else code.dtype

    def combine(self, code: int, left: Tensor, right: Tensor) -> Tensor:
        """One of COMBINING, entry by entry, in the shape of the first; the second is broadcast to it."""
        return self.compute(code, [left, right], left.shape, options(COMBINING[code]))

    def move(self, code: int, inputs: Sequence[Tensor], shape: Sequence[int], options: Any = None) -> Tensor:
        """Emit an operation that only moves values: the result has dtype and quantization of the first input."""
        first = inputs[0]
        made = Tensor(self._name(code), tuple(shape), first.dtype, quantization=first.quantization)
        return self.emit(code, inputs, made, options)

    def emit(self, code: int, inputs: Sequence[Tensor], output: Tensor, options: Any = None) -> Tensor:
        operation = Operation(code, list(inputs), [output], options)
        self.model.operations.append(operation)
        self.producers[output] = operation
        return output

    def once(self, key: tuple[object, ...], make: Callable[[], Tensor]) -> Tensor:
        """The tensor made for `key`, made now if it is not there yet."""
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    def unsupported(self, what: str, hint: str) -> UnsupportedModel:
        """The error for what the current operator asks of the file in vain."""
        assert self._call is not None
        return unsupported(self._call.node, what, hint)

    def _layer(self) -> str:
        return self._call.layer if self._call is not None else "model"

    def _name(self, code: int) -> str:
        return f"{self._layer()}/{OP_NAMES[code].lower()}"


def unsupported(node: Node, what: str, hint: str) -> UnsupportedModel:
    where = f"{layer_name(node)} ({op_name(node)})"
    line = source_line(node)
    return UnsupportedModel(what, where=f"{where}: {line}" if line else where, hint=hint)


def _stand_in(name: str, value: torch.Tensor, batch: int) -> Value:
    shape = tuple(at_batch(size, batch) for size in value.shape)
    dtype = str(value.dtype).removeprefix("torch.")
    known = dtype if dtype in np.sctypeDict else "float32"
    return Value(Tensor(name, shape, np.dtype(known)), tuple(range(len(shape))))


def activation_code(call: Call) -> int:
    """The schema's number of the call's fused activation."""
    return int(getattr(schema.ActivationFunctionType, call.activation))


def options(kind: str, **fields: Any) -> Any:
    """The schema's options object `kind` (for example Pool2DOptions) with its fields set."""
    made = getattr(schema, f"{kind}T")()
    for name, value in fields.items():
        assert hasattr(made, name), f"{kind} has no field {name}"
        setattr(made, name, value)
    return made
