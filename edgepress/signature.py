"""What goes into a network and what comes out: names, shapes and dtypes."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgepress.errors import BadInput


@dataclass(frozen=True)
class TensorSpec:
    """One tensor. `shape` holds ints; None stands only in the batch axis. `dtype` is NumPy's name."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str = "float32"

    def with_batch(self, batch: int) -> tuple[int, ...]:
        """The shape with `batch` in place of None."""
        return tuple(batch if size is None else size for size in self.shape)

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Whether this is the shape, at any batch."""
        return len(shape) == len(self.shape) and all(
            want is None or want == have for want, have in zip(self.shape, shape, strict=True)
        )

    def check(self, array: np.ndarray) -> None:
        """Raise BadInput unless `array` has this dtype and shape."""
        if self.fits(array.shape) and array.dtype == np.dtype(self.dtype):
            return
        raise BadInput(
            f"The tensor {self.name!r} takes {self.dtype} {_shape_text(self.shape)}, "
            f"but got {array.dtype} {_shape_text(array.shape)}.",
            hint="check --data, and the preprocessing that the model was captured with",
        )

    def __str__(self) -> str:
        return f"{self.name}: {self.dtype} {_shape_text(self.shape)}"


@dataclass(frozen=True)
class Signature:
    """The inputs and outputs of a network, in calling order."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def renamed(self, inputs: Sequence[str], outputs: Sequence[str]) -> Signature:
        """The same tensors under other names, in order."""
        return Signature(_renamed(self.inputs, inputs), _renamed(self.outputs, outputs))

    def distinct_names(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The names of the inputs and outputs in our ONNX files, where no two may be alike: one that stands here
        twice ends on `_2` the second time."""
        seen: Counter[str] = Counter()
        names = []
        for spec in (*self.inputs, *self.outputs):
            seen[spec.name] += 1
            names.append(spec.name if seen[spec.name] == 1 else f"{spec.name}_{seen[spec.name]}")
        return tuple(names[: len(self.inputs)]), tuple(names[len(self.inputs) :])

    def tensors(self, *, at_any_batch: bool = False) -> tuple[tuple[str, tuple[int | None, ...], str], ...]:
        """What two files of one network have alike, whatever their names: input or output, shape and type of each."""
        return tuple(
            (kind, spec.shape[1:] if at_any_batch else spec.shape, spec.dtype)
            for kind, specs in (("input", self.inputs), ("output", self.outputs))
            for spec in specs
        )

    def with_batch(self, batch: int) -> Signature:
        """The same tensors with a fixed batch, for a file that takes exactly so many samples at once."""
        return Signature(_fixed(self.inputs, batch), _fixed(self.outputs, batch))

    def check_inputs(self, arrays: Sequence[np.ndarray]) -> None:
        if len(arrays) != len(self.inputs):
            raise BadInput(
                f"The network takes {len(self.inputs)} inputs, but got {len(arrays)}.",
                hint="one array for each input, in calling order",
            )
        for spec, array in zip(self.inputs, arrays, strict=True):
            spec.check(array)

    def example(self, batch: int = 1, seed: int = 0) -> tuple[np.ndarray, ...]:
        """Random inputs (standard normal; small integers for integer inputs) for a dry run."""
        random = np.random.default_rng(seed)
        return tuple(
            random.standard_normal(spec.with_batch(batch)).astype(spec.dtype)
            if np.issubdtype(np.dtype(spec.dtype), np.floating)
            else random.integers(0, 2, spec.with_batch(batch)).astype(spec.dtype)
            for spec in self.inputs
        )


def _renamed(specs: Sequence[TensorSpec], names: Sequence[str]) -> tuple[TensorSpec, ...]:
    return tuple(dataclasses.replace(spec, name=name) for spec, name in zip(specs, names, strict=True))


def _fixed(specs: Sequence[TensorSpec], batch: int) -> tuple[TensorSpec, ...]:
    return tuple(dataclasses.replace(spec, shape=spec.with_batch(batch)) for spec in specs)


def _shape_text(shape: Sequence[int | None]) -> str:
    return "x".join("N" if size is None else str(size) for size in shape) or "scalar"
