"""A stream of symbols in the coder that makes the least of it: stored, Huffman's codes, or range asymmetric numerals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from edgepress.coding import ans, huffman

Coder = Literal["stored", "huffman", "ans"]
CODERS: tuple[Coder, ...] = get_args(Coder)

MOST_SYMBOLS = 4096
"""Different symbols of one stream: their table must stay small beside them."""
SMALLEST_GAIN = 0.99
"""Bytes are stored as they are unless coding them saves a hundredth."""


@dataclass(frozen=True)
class Stream:
    """How one stream lies in the file: `count` symbols below `alphabet`, and the coder's table of that many bytes.
    `size_bytes` is what the coded symbols take; 0 for ans, where all streams share one run of bytes."""

    coder: Coder
    alphabet: int
    count: int
    size_bytes: int = 0


@dataclass(frozen=True)
class Coded:
    """A stream ready to be written. `cost_bytes` is what it takes in all, its table included."""

    stream: Stream
    symbols: np.ndarray
    table: np.ndarray
    cost_bytes: float


def code(symbols: np.ndarray, alphabet: int, coders: Sequence[Coder] = CODERS) -> Coded:
    """The stream in the one of `coders` that takes the fewest bytes; ans where all symbols are the same."""
    counts = np.bincount(symbols, minlength=alphabet)
    choices = [_with_ans(symbols, counts)]
    if np.count_nonzero(counts) > 1:
        choices = choices if "ans" in coders else []
        if "huffman" in coders:
            choices.append(_with_huffman(symbols, counts))
        if alphabet == 256 and "stored" in coders:
            choices.append(_stored(symbols))
    return min(choices, key=lambda choice: choice.cost_bytes)


def _with_ans(symbols: np.ndarray, counts: np.ndarray) -> Coded:
    if not len(symbols):
        return Coded(Stream("ans", 0, 0), symbols, np.zeros(0, np.uint8), 0.0)
    table = ans.levels(counts)
    cost = len(table) + ans.cost_bits(counts, table) / 8
    return Coded(Stream("ans", len(table), len(symbols)), symbols, table, cost)


def _with_huffman(symbols: np.ndarray, counts: np.ndarray) -> Coded:
    table = huffman.lengths(counts)
    size = -(-huffman.cost_bits(counts, table) // 8)
    return Coded(Stream("huffman", len(table), len(symbols), size), symbols, table, float(len(table) + size))


def _stored(symbols: np.ndarray) -> Coded:
    stream = Stream("stored", 0, len(symbols), len(symbols))
    return Coded(stream, symbols, np.zeros(0, np.uint8), len(symbols) * SMALLEST_GAIN)


def write(coded: Sequence[Coded]) -> bytes:
    """The symbols of all streams: first those of ans together, then the others in their order."""
    shared = [one for one in coded if one.stream.coder == "ans" and one.stream.count]
    parts = [ans.encode([one.symbols for one in shared], [one.table for one in shared])]
    for one in coded:
        if one.stream.coder == "huffman":
            parts.append(huffman.encode(one.symbols, one.table))
        elif one.stream.coder == "stored":
            parts.append(one.symbols.astype(np.uint8).tobytes())
    return b"".join(parts)


def read(content: bytes, streams: Sequence[Stream], tables: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The symbols of all streams (uint16). Raises ValueError for bytes that `write` has not written."""
    apart = sum(stream.size_bytes for stream in streams)
    if apart > len(content):
        raise ValueError("too few bytes")
    shared = [number for number, stream in enumerate(streams) if stream.coder == "ans" and stream.count]
    position = len(content) - apart
    decoded = ans.decode(
        content[:position],
        [streams[number].count for number in shared],
        [tables[number] for number in shared],
    )
    found = dict(zip(shared, decoded, strict=True))
    for number, stream in enumerate(streams):
        part = content[position : position + stream.size_bytes]
        position += stream.size_bytes
        if stream.coder == "huffman":
            found[number] = huffman.decode(part, stream.count, tables[number])
        elif stream.coder == "stored":
            found[number] = np.frombuffer(part, np.uint8).astype(np.uint16)
    nothing = np.zeros(0, np.uint16)
    return [found.get(number, nothing) for number in range(len(streams))]
