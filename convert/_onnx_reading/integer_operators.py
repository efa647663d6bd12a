"""Operators on integers (ONNX Runtime's QOperator form), spelt as the plain ones between dequantize and quantize nodes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from edgepress.convert._onnx_reading.model import Model, Operation


@dataclass(frozen=True)
class Spelling:
    """The plain operator; how many integer inputs it has, each with its scale and zero point; where a bias of 32 bits
    stands, if there may be one. Behind the inputs stand scale and zero point of the output."""

    type: str
    inputs: int
    bias: int | None = None

    def ends(self) -> tuple[int, int]:
        first = 3 * self.inputs + (self.bias == 3 * self.inputs)
        return first, first + 1


MICROSOFT = "com.microsoft."
SPELLINGS = {
    "QLinearConv": Spelling("Conv", 2, bias=8),
    "QLinearMatMul": Spelling("MatMul", 2),
    f"{MICROSOFT}QGemm": Spelling("Gemm", 2, bias=6),
    f"{MICROSOFT}QLinearAdd": Spelling("Add", 2),
    f"{MICROSOFT}QLinearMul": Spelling("Mul", 2),
    f"{MICROSOFT}QLinearAveragePool": Spelling("AveragePool", 1),
    f"{MICROSOFT}QLinearGlobalAveragePool": Spelling("GlobalAveragePool", 1),
    f"{MICROSOFT}QLinearLeakyRelu": Spelling("LeakyRelu", 1),
    f"{MICROSOFT}QLinearSigmoid": Spelling("Sigmoid", 1),
}
CONCAT = f"{MICROSOFT}QLinearConcat"
"""It has the output's scale and zero point in front, and any number of inputs behind them."""


def spell_integers(model: Model) -> Model:
    """The model without operators on integers; those that are not in the table stay, to be named as unknown."""
    constants = dict(model.constants)
    operations: list[Operation] = []
    for operation in model.operations:
        spelling = SPELLINGS.get(operation.type)
        if operation.type == CONCAT:
            count = len(operation.inputs) // 3
            ends = operation.inputs[:2]
            moved = dataclasses.replace(operation, inputs=(*operation.inputs[2:], *ends))
            operations += _spelt(moved, Spelling("Concat", count), constants)
        elif spelling is not None and not operation.attributes.get("channels_last", 0):
            operations += _spelt(operation, spelling, constants)
        else:
            operations.append(operation)
    return dataclasses.replace(model, operations=tuple(operations), constants=constants)


def _spelt(operation: Operation, spelling: Spelling, constants: dict[str, np.ndarray]) -> list[Operation]:
    inputs = (*operation.inputs, *[""] * 9)
    found, floats = [], []
    for place in range(spelling.inputs):
        floats.append(f"{operation.outputs[0]}/in{place}")
        triple = inputs[3 * place : 3 * place + 3]
        found.append(_dequantize(operation, triple, floats[-1], _axis(operation, spelling)))
    if spelling.bias is not None and inputs[spelling.bias]:
        scale = f"{operation.outputs[0]}/bias_scale"
        constants[scale] = np.asarray(constants[inputs[1]] * constants[inputs[4]])
        floats.append(f"{operation.outputs[0]}/bias")
        found.append(_dequantize(operation, (inputs[spelling.bias], scale), floats[-1], 0))
    scale, zero_point = (inputs[place] for place in spelling.ends())
    made = f"{operation.outputs[0]}/float" if scale else operation.outputs[0]
    plain = Operation(spelling.type, operation.name, tuple(floats), (made,), _plain(operation.attributes))
    ends = [Operation("QuantizeLinear", operation.name, (made, scale, zero_point), operation.outputs)]
    return [*found, plain, *(ends if scale else [])]


def _dequantize(operation: Operation, inputs: tuple[str, ...], output: str, axis: int) -> Operation:
    return Operation("DequantizeLinear", operation.name, inputs, (output,), {"axis": axis})


def _axis(operation: Operation, spelling: Spelling) -> int:
    """Where a weight's output channels are; what has one scale does not ask."""
    is_upright = spelling.type == "Conv" or bool(operation.attributes.get("transB", 0))
    return 0 if is_upright else 1


def _plain(attributes: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in attributes.items() if name != "channels_last"}
