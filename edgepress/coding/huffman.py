"""Canonical Huffman codes, as Deep Compression stores its indices (Han et al., 2016): whole bits for each symbol."""

from __future__ import annotations

import heapq

import numpy as np

LONGEST = 16
"""Bits of a code: a window of so many finds every symbol in one look."""
CHUNK = 1 << 20
"""Bits that are looked at in one go when decoding: bounds the memory that takes."""


def lengths(counts: np.ndarray) -> np.ndarray:
    """The bits of each symbol's code (uint8), 0 for one that does not occur. Two of them must occur at least."""
    found = np.zeros(len(counts), np.uint8)
    seen, flatter = np.flatnonzero(counts), counts.astype(np.int64)
    found[seen] = _depths(flatter[seen])
    while found.max() > LONGEST:
        flatter = (flatter + 1) // 2
        found[seen] = _depths(flatter[seen])
    return found


def _depths(counts: np.ndarray) -> list[int]:
    """How deep each count's leaf lies in Huffman's tree."""
    heap = [(int(count), leaf) for leaf, count in enumerate(counts)]
    heapq.heapify(heap)
    parents: dict[int, int] = {}
    new = len(counts)
    while len(heap) > 1:
        (first, left), (second, right) = heapq.heappop(heap), heapq.heappop(heap)
        parents[left] = parents[right] = new
        heapq.heappush(heap, (first + second, new))
        new += 1
    depths = {new - 1: 0}
    for node in range(new - 2, -1, -1):
        depths[node] = depths[parents[node]] + 1
    return [depths[leaf] for leaf in range(len(counts))]


def cost_bits(counts: np.ndarray, lengths: np.ndarray) -> int:
    """What symbols that occur so often take, the table not counted."""
    return int((counts.astype(np.int64) * lengths).sum())


def encode(symbols: np.ndarray, lengths: np.ndarray) -> bytes:
    """The symbols' codes one after another, the highest bit first, filled up to a byte with zeros."""
    codes = _codes(lengths)[symbols]
    sizes = lengths[symbols].astype(np.int64)
    ends = np.cumsum(sizes)
    bits = np.zeros(int(ends[-1]) if len(ends) else 0, np.uint8)
    for back in range(int(lengths.max())):
        long_enough = sizes > back
        bits[ends[long_enough] - 1 - back] = codes[long_enough] >> back & 1
    return np.packbits(bits).tobytes()


def decode(content: bytes, count: int, lengths: np.ndarray) -> np.ndarray:
    """`count` symbols (uint16). Raises ValueError for bytes or lengths that `encode` has not written."""
    _check(lengths)
    symbol_at, length_at = _windows(lengths)
    padded = np.frombuffer(content + bytes(4), np.uint8).astype(np.uint32)
    bits, found, position = 8 * len(content), np.empty(count, np.uint16), 0
    done = 0
    while done < count:
        if position >= bits:
            raise ValueError("too few bytes")
        places = np.arange(position, min(position + CHUNK, bits))
        window = _window(padded, places)
        length = length_at[window].tolist()
        hits: list[int] = []
        at = 0
        while at < len(length) and done + len(hits) < count:
            hits.append(at)
            at += length[at]
        found[done : done + len(hits)] = symbol_at[window[hits]]
        done, position = done + len(hits), position + at
    if not 0 <= bits - position < 8:
        raise ValueError("its bits do not add up")
    return found


def _check(lengths: np.ndarray) -> None:
    used = lengths[lengths > 0].astype(np.int64)
    if not used.size or used.max() > LONGEST or (1 << (LONGEST - used)).sum() != 1 << LONGEST:
        raise ValueError("a table of codes that cannot be")


def _codes(lengths: np.ndarray) -> np.ndarray:
    """Canonical: shorter codes first, among equals in the order of the symbols."""
    codes = np.zeros(len(lengths), np.int64)
    code, before = 0, 0
    for symbol in np.lexsort((np.arange(len(lengths)), lengths)):
        if lengths[symbol]:
            code <<= int(lengths[symbol]) - before
            codes[symbol], before = code, int(lengths[symbol])
            code += 1
    return codes


def _windows(lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For every value of the next LONGEST bits, the symbol they begin with and its length."""
    order = np.lexsort((np.arange(len(lengths)), lengths))
    order = order[lengths[order] > 0]
    spans = 1 << (LONGEST - lengths[order].astype(np.int64))
    return np.repeat(order, spans).astype(np.uint16), np.repeat(lengths[order], spans)


def _window(padded: np.ndarray, places: np.ndarray) -> np.ndarray:
    """The LONGEST bits from each place on."""
    byte = places >> 3
    three = padded[byte] << 16 | padded[byte + 1] << 8 | padded[byte + 2]
    found: np.ndarray = three >> (8 - (places & 7)).astype(np.uint32) & ((1 << LONGEST) - 1)
    return found
