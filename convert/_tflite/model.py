"""A TFLite file in memory: its tensors and its operations in execution order."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import ml_dtypes
import numpy as np
from ai_edge_litert import schema_py_generated as schema

Op = schema.BuiltinOperator

OP_NAMES = {code: name for name, code in vars(Op).items() if isinstance(code, int)}
"""BuiltinOperator code to its name in the schema."""

INT4 = np.dtype(ml_dtypes.int4)
"""Of 4-bit weights: a byte each here, two in a byte in the file."""


@dataclass(frozen=True)
class Quantization:
    """real = (integer - zero_point) * scale, one scale a tensor, or one for each index of `axis`. `dtype` is that of
    activations, int8 or int16."""

    scales: tuple[float, ...]
    zero_points: tuple[int, ...]
    axis: int = 0
    dtype: np.dtype[Any] = np.dtype(np.int8)

    @property
    def scale(self) -> float:
        return self.scales[0]

    @property
    def zero_point(self) -> int:
        return self.zero_points[0]

    def integer(self, real: float) -> int:
        """The integer nearest to `real`."""
        ends = np.iinfo(self.dtype)
        return int(np.clip(round(real / self.scale) + self.zero_point, ends.min, ends.max))

    def lowest(self) -> float:
        """The least real number that it can say."""
        return float((np.iinfo(self.dtype).min - self.zero_point) * self.scale)


def per_tensor(scale: float, zero_point: int, dtype: type[np.generic] = np.int8) -> Quantization:
    return Quantization((float(scale),), (int(zero_point),), dtype=np.dtype(dtype))


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
