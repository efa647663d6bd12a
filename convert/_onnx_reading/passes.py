"""What is brought into PyTorch's form before a model becomes a network: a list of small rewrites, in order."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from edgepress.convert._onnx_reading.integer_operators import spell_integers
from edgepress.convert._onnx_reading.model import Model, Operation
from edgepress.convert._onnx_reading.quantization import SHIFT
from edgepress.convert._onnx_reading.recurrent import RECURRENT_INPUTS
from edgepress.errors import UnsupportedModel

MOST_FOLDED_ELEMENTS = 1 << 26
LARGEST_INTEGER = 127
"""Of a stored weight, whatever its type."""
NEVER_FOLDED = ("DequantizeLinear", "QuantizeLinear", "RandomNormal", "RandomUniform", "If", "Loop")
TORCH_GATES = {"LSTM": (0, 2, 3, 1), "GRU": (1, 0, 2)}
"""Where PyTorch's gates stand in ONNX: input, forget, cell, output; reset, update, new."""


def prepared(model: Model) -> Model:
    """The model with all of PASSES applied."""
    for rewrite in PASSES:
        model = rewrite(model)
    return model


def fold_constants(model: Model) -> Model:
    """What is computed from constants alone is computed now."""
    constants = dict(model.constants)
    left = []
    for operation in model.operations:
        inputs = [name for name in operation.inputs if name]
        is_fixed = operation.type not in NEVER_FOLDED and all(name in constants for name in inputs)
        if is_fixed and (made := _computed(operation, constants, model.opset)) is not None:
            constants.update(made)
        else:
            left.append(operation)
    return dataclasses.replace(model, operations=tuple(left), constants=constants)


def dequantize_biases(model: Model) -> Model:
    """A stored bias of 32-bit integers becomes floats: a bias is kept so, and made whole numbers by whoever writes it."""
    constants = dict(model.constants)
    left = []
    for operation in model.operations:
        stored = constants.get(operation.inputs[0]) if operation.type == "DequantizeLinear" else None
        scale = constants.get(operation.inputs[1]) if stored is not None else None
        if stored is not None and scale is not None and stored.dtype == np.int32:
            constants[operation.outputs[0]] = (stored * scale).astype(np.float32)
        else:
            left.append(operation)
    return dataclasses.replace(model, operations=tuple(left), constants=constants)


def stand_products_upright(model: Model) -> Model:
    """A product with a stored matrix becomes Linear: outputs x inputs, with the bias that follows it."""
    constants = dict(model.constants)
    operations: list[Operation] = []
    makers = {name: operation for operation in model.operations for name in operation.outputs}
    for operation in model.operations:
        upright = _upright(operation, constants, makers)
        if upright is None:
            operations.append(operation)
            continue
        weight, bias, turned = upright
        if turned:
            _turn(weight, constants, makers, operations)
        inputs = (operation.inputs[0], f"{weight}{TURNED}" if turned else weight, *bias)
        operations.append(dataclasses.replace(operation, type="Linear", inputs=inputs, attributes={}))
    return dataclasses.replace(model, operations=tuple(operations), constants=constants)


def join_biases(model: Model) -> Model:
    """An addition of a stored vector right behind a Linear without a bias is its bias."""
    operations = list(model.operations)
    for place, operation in enumerate(operations):
        if operation.type != "Linear" or len(operation.inputs) > 2:
            continue
        readers = model.readers(operation.outputs[0])
        if len(readers) != 1 or readers[0].type != "Add" or operation.outputs[0] in model.outputs:
            continue
        (bias,) = [name for name in readers[0].inputs if name != operation.outputs[0]] or [""]
        weight = model.constants.get(operation.inputs[1])
        found = model.constants.get(bias)
        if found is None or weight is None or found.shape != weight.shape[:1]:
            continue
        operations[place] = dataclasses.replace(
            operation, inputs=(*operation.inputs, bias), outputs=readers[0].outputs
        )
        operations[operations.index(readers[0])] = _nothing(readers[0])
    return dataclasses.replace(model, operations=tuple(op for op in operations if op.type))


def name_stored_numbers(model: Model) -> Model:
    """Stored int8 weights get their scale a channel and their zero points, under the weight's name. A single scale is
    one for each output of a layer that has those in front."""
    constants = dict(model.constants)
    operations = []
    for operation in model.operations:
        stored = constants.get(operation.inputs[0]) if operation.type == "DequantizeLinear" else None
        if stored is None or stored.dtype not in (np.int8, np.uint8) or not stored.ndim:
            operations.append(operation)
            continue
        name = operation.inputs[0]
        _check_symmetric(operation, constants)
        given = constants[operation.inputs[1]].reshape(-1)
        axis = int(operation.attributes.get("axis", 1)) % stored.ndim if given.size > 1 else 0
        scales = np.broadcast_to(given, stored.shape[axis : axis + 1])
        if stored.dtype == np.uint8:
            constants[name] = (stored.astype(np.int16) - SHIFT).astype(np.int8)
        constants[f"{name}_scale"] = np.ascontiguousarray(scales, np.float32)
        constants[f"{name}_zero_point"] = np.zeros(scales.shape, np.int64)
        inputs = (name, f"{name}_scale", f"{name}_zero_point")
        attributes = {"axis": axis, "limit": _limit(constants[name])}
        operations.append(
            dataclasses.replace(operation, type="DequantizeStored", inputs=inputs, attributes=attributes)
        )
    return dataclasses.replace(model, operations=tuple(operations), constants=constants)


def _limit(numbers: np.ndarray) -> int:
    """The largest integer of as few bits as hold them, its negative being the smallest: of 4 bits it is 7."""
    largest = int(np.abs(numbers.astype(np.int16)).max(initial=1))
    return min((1 << largest.bit_length()) - 1, LARGEST_INTEGER)


def _check_symmetric(operation: Operation, constants: dict[str, np.ndarray]) -> None:
    """Stored weights must lie about zero, which is 128 in uint8."""
    middle = SHIFT if constants[operation.inputs[0]].dtype == np.uint8 else 0
    given = constants.get(operation.inputs[2]) if len(operation.inputs) > 2 else np.zeros(1, np.int8)
    if given is None or np.any(given.astype(int) != middle):
        raise UnsupportedModel(
            f"The stored weights {operation.inputs[0]!r} have zero points other than {middle}.",
            where=f"node {operation.name}",
            hint="quantize the float model with symmetric weights (in ONNX Runtime: weight_type=QInt8), or read the float model and compress it here",
        )


def order_gates(model: Model) -> Model:
    """The weights of recurrent layers as PyTorch keeps them: one of each direction by itself, with the gates in its order.
    They stand behind all inputs of the operator; a missing bias is zero."""
    constants = dict(model.constants)
    operations = []
    for operation in model.operations:
        if operation.type in TORCH_GATES and all(name in constants for name in operation.inputs[1:3]):
            operation = _ordered(operation, constants)
        operations.append(operation)
    return dataclasses.replace(model, operations=tuple(operations), constants=constants)


def flatten_slopes(model: Model) -> Model:
    """The slopes of a PRelu, channels x 1 x 1 in ONNX, as the vector that PyTorch keeps."""
    constants = dict(model.constants)
    for operation in model.operations:
        slope = constants.get(operation.inputs[1]) if operation.type == "PRelu" else None
        if slope is not None and slope.ndim > 1 and slope.size == slope.shape[-3 if slope.ndim > 2 else 0]:
            constants[operation.inputs[1]] = slope.reshape(-1)
    return dataclasses.replace(model, constants=constants)


PASSES: tuple[Callable[[Model], Model], ...] = (
    spell_integers,
    fold_constants,
    dequantize_biases,
    stand_products_upright,
    join_biases,
    name_stored_numbers,
    order_gates,
    flatten_slopes,
)

TURNED = ".T"


def _computed(
    operation: Operation, constants: dict[str, np.ndarray], opset: int
) -> dict[str, np.ndarray] | None:
    """The outputs of an operation on constants; None when that fails or gives too much to store."""
    node = onnx.helper.make_node(
        operation.type, operation.inputs, operation.outputs, **_as_attributes(operation)
    )
    feeds = {name: constants[name] for name in operation.inputs if name}
    inputs = [
        onnx.helper.make_tensor_value_info(
            name, onnx.helper.np_dtype_to_tensor_dtype(value.dtype), value.shape
        )
        for name, value in feeds.items()
    ]
    outputs = [onnx.helper.make_empty_tensor_value_info(name) for name in operation.outputs if name]
    graph = onnx.helper.make_graph([node], "constant", inputs, outputs)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)])
    try:
        made = ReferenceEvaluator(model).run(None, feeds)
    except Exception:  # whatever cannot be computed beforehand is left to the network
        return None
    if sum(np.size(value) for value in made) > MOST_FOLDED_ELEMENTS:
        return None
    return {output.name: np.asarray(value) for output, value in zip(outputs, made, strict=True)}


def _as_attributes(operation: Operation) -> dict[str, Any]:
    return {
        name: numpy_helper.from_array(value) if isinstance(value, np.ndarray) else value
        for name, value in operation.attributes.items()
    }


def _upright(
    operation: Operation, constants: dict[str, np.ndarray], makers: dict[str, Operation]
) -> tuple[str, tuple[str, ...], bool] | None:
    """(weight, bias, whether the weight is to be turned) of a product with a stored matrix; None for any other."""
    if operation.type not in ("MatMul", "Gemm"):
        return None
    weight = operation.inputs[1]
    maker = makers.get(weight)
    stored = constants.get(maker.inputs[0] if maker and maker.type == "DequantizeLinear" else weight)
    if stored is None or stored.ndim != 2:
        return None
    if operation.type == "MatMul":
        return weight, (), True
    plain = {"alpha": 1.0, "beta": 1.0, "transA": 0}
    if any(operation.attributes.get(name, value) != value for name, value in plain.items()):
        return None
    is_upright = bool(operation.attributes.get("transB", 0))
    bias = tuple(name for name in operation.inputs[2:] if name)
    made = stored.shape[0 if is_upright else 1]
    if bias and (bias[0] not in constants or constants[bias[0]].shape != (made,)):
        return None
    return weight, bias, not is_upright


def _turn(
    weight: str, constants: dict[str, np.ndarray], makers: dict[str, Operation], operations: list[Operation]
) -> None:
    """Add the transposed weight as a constant; of quantized numbers, with the node that makes floats of them."""
    turned = f"{weight}{TURNED}"
    if weight in constants:
        constants[turned] = np.ascontiguousarray(constants[weight].T)
        return
    maker = makers[weight]
    numbers = f"{maker.inputs[0]}{TURNED}"
    constants[numbers] = np.ascontiguousarray(constants[maker.inputs[0]].T)
    attributes = {**maker.attributes, "axis": 0}
    if all(turned not in made.outputs for made in operations):
        operations.append(
            Operation(maker.type, maker.name, (numbers, *maker.inputs[1:]), (turned,), attributes)
        )


def _nothing(operation: Operation) -> Operation:
    return dataclasses.replace(operation, type="")


def _ordered(operation: Operation, constants: dict[str, np.ndarray]) -> Operation:
    inputs, states = (constants[name] for name in operation.inputs[1:3])
    given = constants.get(operation.inputs[3]) if len(operation.inputs) > 3 else None
    biases = np.zeros((len(inputs), 2 * inputs.shape[1]), inputs.dtype) if given is None else given
    roles = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    names = []
    for suffix, *parts in zip(("", "_reverse"), inputs, states, *np.split(biases, 2, 1), strict=False):
        for role, part in zip(roles, parts, strict=True):
            names.append(f"{operation.name}.{role}{suffix}")
            constants[names[-1]] = np.concatenate(list(_gates(part, operation.type)))
    others = [name if position not in (1, 2, 3) else "" for position, name in enumerate(operation.inputs)]
    others += [""] * (RECURRENT_INPUTS - len(others))
    return dataclasses.replace(operation, inputs=(*others, *names))


def _gates(weights: np.ndarray, type: str) -> Iterator[np.ndarray]:
    """The parts along the first axis, as PyTorch orders them."""
    order = TORCH_GATES[type]
    parts = np.split(weights, len(order))
    return (parts[place] for place in order)
