"""One operation while the network runs, and the table of the functions that carry operations out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from edgepress.convert._onnx_reading.model import Operation
from edgepress.errors import UnsupportedModel

Value = torch.Tensor | np.ndarray
"""A tensor of the network, or an array known (but for the size of the batch) before it runs: shapes and
what is computed of them. An array that holds the batch has dtype object."""

Outcome = Value | Sequence[Value]
Function = Callable[["Call"], Outcome]

OPERATIONS: dict[str, Function] = {}


def operation(*types: str) -> Callable[[Function], Function]:
    """Enter a function as the one that carries out these ONNX operators."""

    def enter(function: Function) -> Function:
        OPERATIONS.update(dict.fromkeys(types, function))
        return function

    return enter


@dataclass(frozen=True)
class Call:
    """An operation with its input values (None where left out). `batch` is the size that the file fixes
    the batch to, None where it leaves it free; `told` are the inputs at that batch, tensors without their data."""

    operation: Operation
    values: tuple[Value | None, ...]
    opset: int
    batch: int | None
    told: tuple[Value | None, ...] = ()

    def __len__(self) -> int:
        return len(self.values)

    def attribute(self, name: str, default: Any = None) -> Any:
        return self.operation.attributes.get(name, default)

    def value(self, position: int) -> Value | None:
        return self.values[position] if position < len(self.values) else None

    def tensor(self, position: int) -> torch.Tensor:
        """The input as a tensor; UnsupportedModel where it is left out."""
        found = self.optional(position)
        if found is None:
            raise self.unsupported(f"needs its input {position}")
        return found

    def optional(self, position: int) -> torch.Tensor | None:
        value = self.value(position)
        return as_tensor(value) if isinstance(value, np.ndarray) else value

    def known(self, position: int, default: Any = None) -> Any:
        """The input as a list (or number) known beforehand; `default` where it is left out."""
        value = self.value(position)
        if value is None:
            return default
        if isinstance(value, torch.Tensor):
            raise self.unsupported(
                f"computes its input {position} ({self.operation.inputs[position]}) from data"
            )
        return value.tolist()

    def known_or_attribute(self, position: int, name: str, default: Any = None) -> Any:
        """What newer opsets give as an input and older ones as an attribute."""
        return self.known(position, self.attribute(name, default))

    def all_known(self) -> bool:
        return all(not isinstance(value, torch.Tensor) for value in self.values)

    def unsupported(self, what: str) -> UnsupportedModel:
        again = "export it with a dynamic batch" if self.batch else "export it with other operators"
        return UnsupportedModel(
            f"The ONNX operator {self.operation.type} {what}.",
            where=f"node {self.operation.name}",
            hint=f"simplify the model with onnxsim before, or {again}",
        )


def as_tensor(value: np.ndarray) -> torch.Tensor:
    """An array known beforehand as a tensor of the network."""
    if value.dtype != object:
        return torch.from_numpy(np.ascontiguousarray(value)) if value.ndim else torch.tensor(value.item())
    return torch.stack([torch.as_tensor(entry) for entry in value.ravel().tolist()]).reshape(value.shape)


def array_of(entries: Sequence[Any]) -> np.ndarray:
    """A 1-D array of sizes, among which the batch may stand."""
    if all(isinstance(entry, int) for entry in entries):
        return np.asarray(entries, np.int64)
    found = np.empty(len(entries), object)
    found[:] = entries
    return found
