"""Weights as streams of symbols and a few plain bytes, and the same weights again, bit for bit.

A tensor is taken as the bit patterns of its elements, so that nothing is ever rounded: negative zeros and NaN stay.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from edgepress.coding.streams import CODERS, MOST_SYMBOLS, Coded, Coder, code

Layout = Literal["plain", "shared", "gaps", "planes"]
"""plain: all bytes, the first of every element, then the second, ... shared: a codebook, and of every element its
entry. gaps: the same for what is not zero, and how many zeros lie before each (Han et al., 2016, Deep Compression).
planes: which elements are not zero, and the bytes of those as in plain."""

FEWEST, FEWEST_IN_PLANES = 256, 1024
"""Elements of a tensor that is worth a codebook and its table, or a table for each of its planes."""
LONGEST_GAP = 255
"""The symbol of so many zeros that no weight follows. Below it, the symbol is the number of zeros before a weight."""


@dataclass(frozen=True)
class CodedTensor:
    """`plain` are the bytes that stay as they are: the whole tensor, or its codebook of `entries`."""

    layout: Layout
    plain: bytes
    entries: int
    streams: tuple[Coded, ...]

    @property
    def cost_bytes(self) -> float:
        return len(self.plain) + sum(one.cost_bytes for one in self.streams)


def encode(content: bytes, width: int, coders: Sequence[Coder] = CODERS) -> CodedTensor:
    """The tensor whose elements have `width` bytes, in the layout that takes the fewest."""
    elements = np.frombuffer(content, f"<u{width}")
    if len(elements) < FEWEST:
        return _as_plain(elements)
    choices = [_as_planes(elements, coders) if len(elements) >= FEWEST_IN_PLANES else _as_plain(elements)]
    values, indices = np.unique(elements, return_inverse=True)
    if len(values) <= min(MOST_SYMBOLS, len(elements) // 4):
        if "ans" in coders:
            choices.append(_as_shared(values, indices, coders))
        if values[0] == 0 and len(values) > 1:
            choices.append(_as_gaps(values, indices, coders))
    return min(choices, key=lambda choice: choice.cost_bytes)


def decode(layout: Layout, plain: bytes, width: int, count: int, streams: Sequence[np.ndarray]) -> bytes:
    """The tensor's `count` elements. Raises ValueError for symbols that `encode` has not made."""
    if layout == "plain":
        return _from_planes(np.frombuffer(plain, np.uint8), width, count).tobytes()
    if layout == "planes":
        return _decode_planes(width, count, *streams)
    values = _from_planes(np.frombuffer(plain, np.uint8), width, len(plain) // width)
    (*gaps, indices) = streams
    if len(indices) and int(indices.max()) >= len(values):
        raise ValueError("an entry that the codebook lacks")
    found = values[indices]
    return (_spread(found, gaps[0], count) if gaps else found).tobytes()


def _as_plain(elements: np.ndarray) -> CodedTensor:
    return CodedTensor("plain", _planes(elements).tobytes(), 0, ())


def _as_shared(values: np.ndarray, indices: np.ndarray, coders: Sequence[Coder]) -> CodedTensor:
    stream = code(indices.astype(np.uint16), len(values), coders)
    return CodedTensor("shared", _planes(values).tobytes(), len(values), (stream,))


def _as_gaps(values: np.ndarray, indices: np.ndarray, coders: Sequence[Coder]) -> CodedTensor:
    """Of a tensor whose first value is zero."""
    places = np.flatnonzero(indices)
    zeros = np.diff(places, prepend=-1) - 1
    escapes = zeros // LONGEST_GAP
    gaps = np.full(len(places) + int(escapes.sum()), LONGEST_GAP, np.uint16)
    gaps[np.cumsum(escapes + 1) - 1] = zeros % LONGEST_GAP
    streams = (
        code(gaps, LONGEST_GAP + 1, coders),
        code(indices[places].astype(np.uint16) - 1, len(values) - 1, coders),
    )
    return CodedTensor("gaps", _planes(values[1:]).tobytes(), len(values) - 1, streams)


def _spread(found: np.ndarray, gaps: np.ndarray, count: int) -> np.ndarray:
    """The weights at their places among zeros."""
    ends = np.cumsum(gaps.astype(np.int64) + (gaps < LONGEST_GAP))[gaps < LONGEST_GAP]
    if len(ends) != len(found) or (len(ends) and int(ends[-1]) > count):
        raise ValueError("weights beyond the end")
    elements = np.zeros(count, found.dtype)
    elements[ends - 1] = found
    return elements


def _as_planes(elements: np.ndarray, coders: Sequence[Coder]) -> CodedTensor:
    present = elements != 0
    planes = _planes(elements[present])
    streams = [code(present.astype(np.uint16), 2, coders)]
    streams += [code(plane.astype(np.uint16), 256, (*coders, "stored")) for plane in planes]
    return CodedTensor("planes", b"", 0, tuple(streams))


def _decode_planes(width: int, count: int, present: np.ndarray, *planes: np.ndarray) -> bytes:
    nonzero = int(np.count_nonzero(present))
    if len(present) != count or len(planes) != width or any(len(plane) != nonzero for plane in planes):
        raise ValueError("bytes that belong to no element")
    elements = np.zeros(count, f"<u{width}")
    elements[present > 0] = _from_planes(np.concatenate(planes).astype(np.uint8), width, nonzero)
    return elements.tobytes()


def _planes(elements: np.ndarray) -> np.ndarray:
    """Width x count: the lowest byte of every element, then the next."""
    return np.ascontiguousarray(elements.view(np.uint8).reshape(len(elements), elements.itemsize).T)


def _from_planes(planes: np.ndarray, width: int, count: int) -> np.ndarray:
    if planes.size != width * count:
        raise ValueError("bytes that belong to no element")
    return np.ascontiguousarray(planes.reshape(width, count).T).view(f"<u{width}").reshape(count)
