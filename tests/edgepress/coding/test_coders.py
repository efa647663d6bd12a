"""Both coders give back what they were given, take what the entropy says, and refuse what they have not written."""

from __future__ import annotations

import numpy as np
import pytest

from edgepress.coding import ans, huffman, streams

RANDOM = np.random.default_rng(0)
SYMBOLS = {
    "few": RANDOM.integers(0, 2, 10),
    "one in a hundred": (RANDOM.random(20_000) < 0.01).astype(int),
    "falling": np.minimum(RANDOM.exponential(9, 30_000).astype(int), 63),
    "even": RANDOM.integers(0, 256, 30_000),
    "many": RANDOM.permutation(4096),
    # Fibonacci numbers make the deepest tree there is: 23 levels, of which only 16 are allowed.
    "deep": np.repeat(np.arange(24), [1, *(round(1.618**power / 5**0.5) for power in range(1, 24))]),
}


def entropy_bytes(symbols: np.ndarray) -> float:
    counts = np.unique(symbols, return_counts=True)[1]
    return float((counts * np.log2(len(symbols) / counts)).sum()) / 8


@pytest.fixture(params=SYMBOLS)
def symbols(request: pytest.FixtureRequest) -> np.ndarray:
    return SYMBOLS[request.param].astype(np.uint16)


def test_asymmetric_numerals_take_no_more_than_the_entropy(symbols: np.ndarray) -> None:
    table = ans.levels(np.bincount(symbols))
    content = ans.encode([symbols], [table])
    assert np.array_equal(ans.decode(content, [len(symbols)], [table])[0], symbols)
    # Rounded tables cost 0.002 bits a symbol, each lane 4 bytes, and 14 bits are not enough for one in 20,000.
    allowed = 0.004 * len(symbols) / 8 + 4 * ans.lane_count(len(symbols)) + 0.002 * entropy_bytes(symbols) + 2
    assert len(content) <= entropy_bytes(symbols) + allowed


def test_huffman_takes_less_than_a_bit_more_a_symbol(symbols: np.ndarray) -> None:
    lengths = huffman.lengths(np.bincount(symbols))
    content = huffman.encode(symbols, lengths)
    assert lengths.max() <= huffman.LONGEST
    assert np.array_equal(huffman.decode(content, len(symbols), lengths), symbols)
    assert entropy_bytes(symbols) <= len(content) <= entropy_bytes(symbols) + len(symbols) / 8


def test_lengths_are_huffmans() -> None:
    assert huffman.lengths(np.array([5, 0, 9, 12, 13, 16, 45])).tolist() == [4, 0, 4, 3, 3, 3, 1]


def test_streams_of_different_tables_share_their_lanes() -> None:
    found = [streams.code(SYMBOLS[name].astype(np.uint16), 4096) for name in SYMBOLS]
    content = streams.write(found)
    read = streams.read(content, [one.stream for one in found], [one.table for one in found])
    assert all(np.array_equal(one, two) for one, two in zip(read, SYMBOLS.values(), strict=True))
    assert len(content) + sum(len(one.table) for one in found) <= sum(one.cost_bytes for one in found) + 100


def test_the_cheapest_coder_is_taken() -> None:
    assert streams.code(SYMBOLS["falling"].astype(np.uint16), 64).stream.coder == "ans"
    assert streams.code(SYMBOLS["even"].astype(np.uint16), 256).stream.coder == "stored"
    assert streams.code(SYMBOLS["falling"].astype(np.uint16), 64, ("huffman",)).stream.coder == "huffman"
    assert streams.code(np.full(9, 7, np.uint16), 8, ("huffman",)).stream.coder == "ans"


def test_a_symbol_that_is_alone_takes_no_bits() -> None:
    content = ans.encode([np.full(100_000, 3)], [ans.levels(np.array([0, 0, 0, 100_000]))])
    assert len(content) == 4 * ans.lane_count(100_000)


@pytest.mark.parametrize("table", [[], [0, 0], [126], [1] * 4097], ids=["none", "empty", "too high", "long"])
def test_tables_that_cannot_be(table: list[int]) -> None:
    with pytest.raises(ValueError, match="cannot be"):
        ans.frequencies(np.array(table, np.uint8))
    with pytest.raises(ValueError, match="cannot be"):
        huffman.decode(b"\0\0\0\0", 3, np.array(table, np.uint8))


def test_frequencies_fill_the_table_exactly() -> None:
    for levels in ([1], [125] * 4096, [125, *[1] * 4000], [0, 3, 9, 0, 40], list(range(126))):
        found = ans.frequencies(np.array(levels, np.uint8))
        assert found.sum() == ans.TOTAL
        assert ((found > 0) == (np.array(levels) > 0)).all()


@pytest.mark.parametrize(
    "damage", [lambda c: c[:-2], lambda c: c + b"\0\0", lambda c: b"\1\1\1\1" + c[4:], lambda c: c[:3]]
)
def test_damaged_bytes(damage: object) -> None:
    symbols = SYMBOLS["falling"].astype(np.uint16)
    table, lengths = ans.levels(np.bincount(symbols)), huffman.lengths(np.bincount(symbols))
    with pytest.raises(ValueError, match="too few bytes|do not add up"):
        ans.decode(damage(ans.encode([symbols], [table])), [len(symbols)], [table])
    whole = huffman.encode(symbols, lengths)
    for wrong in (whole[:-2], whole + b"\0"):
        with pytest.raises(ValueError, match="too few bytes|do not add up"):
            huffman.decode(wrong, len(symbols), lengths)
