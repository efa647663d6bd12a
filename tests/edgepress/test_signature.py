"""Names, shapes and types of inputs."""

from __future__ import annotations

import numpy as np
import pytest

from edgepress.errors import BadInput
from edgepress.signature import Signature, TensorSpec

IMAGE = TensorSpec("x", (None, 3, 4, 4))
INDEX = TensorSpec("index", (None,), "int64")
BOTH = Signature((IMAGE, INDEX), (TensorSpec("y", (None, 10)),))


def test_any_batch_fits() -> None:
    for batch in (1, 9):
        BOTH.check_inputs(BOTH.example(batch))


@pytest.mark.parametrize(
    ("array", "got"),
    [
        (np.zeros((2, 3, 4, 5), np.float32), "float32 2x3x4x5"),
        (np.zeros((2, 3, 4), np.float32), "float32 2x3x4"),
        (np.zeros((2, 3, 4, 4)), "float64 2x3x4x4"),
        (np.zeros((), np.float32), "float32 scalar"),
    ],
)
def test_what_does_not_fit_is_told_with_both_shapes(array: np.ndarray, got: str) -> None:
    with pytest.raises(BadInput, match=f"'x' takes float32 Nx3x4x4, but got {got}"):
        IMAGE.check(array)


def test_number_of_inputs() -> None:
    with pytest.raises(BadInput, match="takes 2 inputs, but got 1"):
        BOTH.check_inputs(BOTH.example()[:1])


def test_examples_are_repeatable_and_typed() -> None:
    first, second = BOTH.example(3, seed=1), BOTH.example(3, seed=1)
    assert [array.dtype.name for array in first] == ["float32", "int64"]
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert not np.array_equal(first[0], BOTH.example(3, seed=2)[0])


def test_a_fixed_batch_is_in_every_tensor() -> None:
    other = TensorSpec("y", (None, 4), "float32")
    fixed = Signature((IMAGE,), (other,)).with_batch(3)
    assert (fixed.inputs[0].shape, fixed.outputs[0].shape) == ((3, *IMAGE.shape[1:]), (3, 4))
    assert fixed.outputs[0].name == "y"
