"""Entropy coding to a fraction of a bit: interleaved range asymmetric numeral systems, all lanes at once in NumPy.

Duda (2014), Asymmetric numeral systems; Giesen (2014), Interleaved entropy coders. Symbol number i of all streams
together belongs to lane i modulo the number of lanes; every lane is a state of 32 bits that takes or gives 16 at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

PRECISION = 14
TOTAL = 1 << PRECISION
"""The frequencies of a table add up to this: the least probable of 4,096 symbols still has a place."""

LOWEST = 1 << 16
"""A state is never below, and below 2**32 at all times."""

MOST_TABLES = 8192
"""Streams that are decoded together: looking up their slots takes 64 KiB of memory each."""

MOST_LANES = 1024
SYMBOLS_PER_LANE = 8192
"""A lane costs 4 bytes for its state: below a thousandth of what so many symbols take."""

QUARTER_OCTAVES = (16384, 19484, 23170, 27554)
"""2**14 times 2 to the power of 0, 1/4, 2/4 and 3/4."""
HIGHEST_LEVEL = 4 * 31
"""The level of a symbol seen 2**31 times."""


def levels(counts: np.ndarray) -> np.ndarray:
    """How often each symbol occurs as bytes, in quarters of an octave: 0 for never. Rounding costs 0.002 bits a symbol."""
    seen = counts > 0
    rounded = np.round(4 * np.log2(np.where(seen, counts, 1))).astype(np.int64)
    return np.where(seen, 1 + rounded, 0).astype(np.uint8)


def frequencies(levels: np.ndarray) -> np.ndarray:
    """Integers in the proportions of the levels, at least 1 for a symbol that occurs, that add up to TOTAL.

    Integer arithmetic alone: every machine gets the same. Raises ValueError for levels that no table has.
    """
    steps = levels.astype(np.int64) - 1
    seen = steps >= 0
    if not seen.any() or steps.max() > HIGHEST_LEVEL or seen.sum() > TOTAL // 4:
        raise ValueError("a table of frequencies that cannot be")
    weights = np.where(seen, np.array(QUARTER_OCTAVES)[steps % 4] << (np.maximum(steps, 0) // 4), 0)
    found: np.ndarray = np.where(seen, np.maximum(weights * TOTAL // weights.sum(), 1), 0)
    missing = TOTAL - int(found.sum())
    while missing:
        largest = int(found.argmax())
        change = max(missing, -int(found[largest]) // 2)
        found[largest] += change
        missing -= change
    return found


def cost_bits(counts: np.ndarray, levels: np.ndarray) -> float:
    """What symbols that occur so often take, the table not counted."""
    seen = counts > 0
    return float((counts[seen] * (PRECISION - np.log2(frequencies(levels)[seen]))).sum())


@dataclass(frozen=True)
class _Tables:
    """The tables of all streams, one behind another. `first` is where each stream's symbols begin."""

    frequency: np.ndarray
    start: np.ndarray
    first: np.ndarray

    @classmethod
    def of(cls, tables: Sequence[np.ndarray]) -> _Tables:
        found = [frequencies(table) for table in tables]
        sizes = [len(table) for table in found]
        return cls(
            np.concatenate(found),
            np.concatenate([np.cumsum(table) - table for table in found]),
            np.cumsum([0, *sizes[:-1]], dtype=np.int32),
        )


def encode(streams: Sequence[np.ndarray], tables: Sequence[np.ndarray]) -> bytes:
    """The symbols of all streams, each under its table of levels, as bytes of 16-bit words."""
    total = sum(len(stream) for stream in streams)
    if not total:
        return b""
    known = _Tables.of(tables)
    places = np.concatenate(
        [stream.astype(np.int32) + first for stream, first in zip(streams, known.first, strict=True)]
    )
    lanes = lane_count(total)
    states = np.full(lanes, LOWEST, np.uint64)
    words: list[np.ndarray] = []
    for begin in range((total - 1) // lanes * lanes, -1, -lanes):
        place = places[begin : begin + lanes]
        frequency = known.frequency[place].astype(np.uint64)
        state = states[: len(place)]
        full = state >= frequency << np.uint64(32 - PRECISION)
        words.append(state[full].astype("<u2"))
        state = np.where(full, state >> np.uint64(16), state)
        quotient = state // frequency
        states[: len(place)] = (
            (quotient << np.uint64(PRECISION))
            + (state - quotient * frequency)
            + known.start[place].astype(np.uint64)
        )
    return states.astype("<u4").tobytes() + np.concatenate(words[::-1]).tobytes()


def decode(content: bytes, counts: Sequence[int], tables: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The streams of so many symbols (uint16). Raises ValueError for bytes that `encode` has not written."""
    total = sum(counts)
    if not total:
        return [np.zeros(0, np.uint16) for _ in counts]
    lanes = lane_count(total)
    if len(content) < 4 * lanes or len(content) % 2:
        raise ValueError("too few bytes")
    known = _Tables.of(tables)
    states = np.frombuffer(content, "<u4", lanes).astype(np.int64)
    words = np.frombuffer(content, "<u2", offset=4 * lanes).astype(np.int64)
    symbols = _symbols(states, words, known, np.repeat(np.arange(len(counts), dtype=np.uint16), counts))
    return np.split(symbols, np.cumsum(counts)[:-1])


def _symbols(states: np.ndarray, words: np.ndarray, known: _Tables, stream: np.ndarray) -> np.ndarray:
    """All symbols, `stream` saying which one each belongs to. The states end where encoding began, or it was damaged."""
    at_slot = np.repeat(np.arange(len(known.frequency), dtype=np.int32), known.frequency)
    found = np.empty(len(stream), np.uint16)
    lanes, taken = len(states), 0
    for begin in range(0, len(stream), lanes):
        table = stream[begin : begin + lanes]
        state = states[: len(table)]
        slot = state & (TOTAL - 1)
        place = at_slot[table * np.int64(TOTAL) + slot]
        found[begin : begin + lanes] = place - known.first[table]
        state = known.frequency[place] * (state >> PRECISION) + slot - known.start[place]
        empty = np.flatnonzero(state < LOWEST)
        if len(empty):
            given = words[taken : taken + len(empty)]
            if len(given) < len(empty):
                raise ValueError("too few bytes")
            state[empty] = state[empty] << 16 | given
            taken += len(empty)
        states[: len(table)] = state
    if taken != len(words) or (states != LOWEST).any():
        raise ValueError("its bits do not add up")
    return found


def lane_count(symbols: int) -> int:
    return min(MOST_LANES, 1 + symbols // SYMBOLS_PER_LANE)
