"""Weights become streams and the same bits again, in the layout that suits them."""

from __future__ import annotations

import numpy as np
import pytest

from edgepress.coding import tensors
from edgepress.coding.streams import CODERS

RANDOM = np.random.default_rng(0)


def floats(count: int, *, zeros: float = 0.0, values: int = 0, kind: str = "<f4") -> np.ndarray:
    found = RANDOM.standard_normal(count)
    if values:
        found = np.linspace(-3, 3, values)[RANDOM.integers(0, values, count)]
    found[RANDOM.random(count) < zeros] = 0
    return found.astype(kind)


SPECIAL = floats(1000)
SPECIAL[:5] = np.array([np.nan, -np.nan, -0.0, np.inf, 1e-45])
WEIGHTS = {
    "few": floats(10),
    "shared": floats(5000, values=16),
    "shared, sparse": floats(5000, values=16, zeros=0.9),
    "sparse": floats(5000, zeros=0.9),
    "all different": floats(5000),
    "all zero": np.zeros(5000, np.float32),
    "a single weight after a long gap": np.pad(np.ones(1, np.float32), (4000, 300)),
    "special": SPECIAL,
    "half": floats(5000, kind="<f2"),
    "bytes": RANDOM.integers(-100, 100, 5000).astype(np.int8),
    "integers": np.arange(1000),
}


def decoded(coded: tensors.CodedTensor, width: int, count: int) -> bytes:
    symbols = [one.symbols for one in coded.streams]
    return tensors.decode(coded.layout, coded.plain, width, count, symbols)


@pytest.mark.parametrize("name", WEIGHTS)
@pytest.mark.parametrize("coders", [CODERS, ("huffman",)], ids=["smallest", "huffman"])
def test_every_bit_comes_back(name: str, coders: tuple) -> None:
    weights = WEIGHTS[name]
    coded = tensors.encode(weights.tobytes(), weights.itemsize, coders)
    assert decoded(coded, weights.itemsize, len(weights)) == weights.tobytes()


def test_each_kind_has_its_layout() -> None:
    found = {name: tensors.encode(one.tobytes(), one.itemsize).layout for name, one in WEIGHTS.items()}
    assert found["few"] == "plain"
    assert found["shared"] == "shared"
    assert found["sparse"] == found["all different"] == "planes"
    assert found["shared, sparse"] in ("shared", "gaps")
    coded = tensors.encode(WEIGHTS["shared, sparse"].tobytes(), 4, ("huffman",))
    assert (coded.layout, coded.entries) == ("gaps", 16)


def test_shared_weights_take_their_bits_and_sparse_ones_less() -> None:
    shared = tensors.encode(WEIGHTS["shared"].tobytes(), 4)
    # 16 entries: half a byte a weight, 4 bytes each in the codebook and one in the table.
    assert shared.cost_bytes == pytest.approx(5000 / 2 + 16 * 5, rel=0.01)
    assert tensors.encode(WEIGHTS["shared, sparse"].tobytes(), 4).cost_bytes < 0.3 * shared.cost_bytes
    assert tensors.encode(WEIGHTS["sparse"].tobytes(), 4).cost_bytes < 0.15 * 4 * 5000
    assert tensors.encode(WEIGHTS["all zero"].tobytes(), 4).cost_bytes < 10


@pytest.mark.parametrize(
    ("layout", "plain", "streams"),
    [
        ("plain", b"\0" * 11, []),
        ("shared", b"\0" * 8, [[0, 1, 2]]),
        ("shared", b"", [[0, 0, 0]]),
        ("gaps", b"\1\0\0\0", [[1, 1], [0]]),
        ("gaps", b"\1\0\0\0", [[255, 255, 0], [0]]),
        ("gaps", b"\1\0\0\0", [[3], [0]]),
        ("planes", b"", [[1, 0, 1], [0], [0], [0], [0]]),
        ("planes", b"", [[1, 0, 0], [0]]),
        ("planes", b"", [[1, 0], [0], [0], [0], [0]]),
    ],
)
def test_symbols_that_contradict_themselves(layout: str, plain: bytes, streams: list[list[int]]) -> None:
    with pytest.raises(ValueError, match="beyond the end|no element|lacks"):
        tensors.decode(layout, plain, 4, 3, [np.array(one, np.uint16) for one in streams])
