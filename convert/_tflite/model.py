"""A TFLite file in memory: its tensors and its operations in execution order."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

Op = schema.BuiltinOperator

OP_NAMES = {code: name for name, code in vars(Op).items() if isinstance(code, int)}
"""BuiltinOperator code to its name in the schema."""


@dataclass(frozen=True)
class Quantization:
    """real = (integer - zero_point) * scale, one scale a tensor, or one for each index of `axis`."""

    scales: tuple[float, ...]
    zero_points: tuple[int, ...]
    axis: int = 0

    @property
    def scale(self) -> float:
        return self.scales[0]

    @property
    def zero_point(self) -> int:
        return self.zero_points[0]

    def integer(self, real: float) -> int:
        """The int8 value nearest to `real`."""
        return int(np.clip(round(real / self.scale) + self.zero_point, -128, 127))


def per_tensor(scale: float, zero_point: int) -> Quantization:
    return Quantization((float(scale),), (int(zero_point),))


@dataclass(eq=False)
class Tensor:
    """`shape` is as the file stores it; a constant carries its `data`."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    data: np.ndarray | None = None
    quantization: Quantization | None = None


@dataclass(eq=False)
class Operation:
    """`code` is a BuiltinOperator; `options` the object of the schema that goes with it."""

    code: int
    inputs: list[Tensor]
    outputs: list[Tensor]
    options: Any = None


@dataclass
class Model:
    """`inputs` and `outputs` are the signature's names with their tensors, in calling order."""

    operations: list[Operation] = field(default_factory=list)
    inputs: list[tuple[str, Tensor]] = field(default_factory=list)
    outputs: list[tuple[str, Tensor]] = field(default_factory=list)

    def readers(self) -> dict[Tensor, list[Operation]]:
        """Of each tensor that is read, the operations that read it, in order."""
        found: dict[Tensor, list[Operation]] = {}
        for operation in self.operations:
            for tensor in operation.inputs:
                found.setdefault(tensor, []).append(operation)
        return found

    def tensors(self) -> list[Tensor]:
        """Every tensor once, in the order of first use."""
        found = dict.fromkeys(tensor for _, tensor in self.inputs)
        for operation in self.operations:
            found.update(dict.fromkeys((*operation.inputs, *operation.outputs)))
        found.update(dict.fromkeys(tensor for _, tensor in self.outputs))
        return list(found)
