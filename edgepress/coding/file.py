"""The `.epz` file: all members of a `.pt2`, coded, behind a checksum.

    EPZ1 | checksum | sizes | head, behind LZMA: index (JSON), texts, codebooks, tables | coded symbols

Nothing in a file is believed: the index is held against a grammar, every count is bounded before memory is taken, and what
comes out is checked as any other `.pt2` is (see edgepress.archive).
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import lzma
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np

from edgepress._archive_zip import check_name, refusal
from edgepress._json_grammar import Refused, constant, integer, listing, record, text
from edgepress.coding import ans, streams, tensors
from edgepress.coding.streams import CODERS, Coder, Stream
from edgepress.coding.tensors import CodedTensor
from edgepress.errors import UnsupportedModel

CODED_FORMAT = "epz"
MAGIC = b"EPZ1"
CHECKSUM_BYTES = 16
SIZES = struct.Struct("<III")
"""Of the head as it lies in the file, of the head, and of the index in it."""

WIDTHS = (1, 2, 4, 8)
"""Bytes of one element."""
MOST_HEAD_BYTES, MOST_INDEX_BYTES = 256 << 20, 16 << 20
MOST_BYTES = 1 << 31
MOST_EXPANSION, ALWAYS_ALLOWED = 4096, 64 << 20
"""What is in a file may be so many times as large as the file, or so many bytes: a few kilobytes shall not fill
the memory. A weight takes 32 bits; of a hundred of which one is left, it still takes an eighth of a bit."""

FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 9, "lc": 4, "lp": 0, "pb": 0}]
"""For text, mostly: the eight bits before matter, the position does not."""

STREAM = record(
    coder=constant(*CODERS),
    alphabet=integer(0, streams.MOST_SYMBOLS),
    count=integer(0, MOST_BYTES),
    size_bytes=integer(0, MOST_BYTES),
)
INDEX = listing(
    record(
        name=text(longest=300),
        size=integer(0, MOST_BYTES),
        width=constant(*WIDTHS),
        layout=constant(*get_args(tensors.Layout)),
        entries=integer(0, streams.MOST_SYMBOLS),
        streams=listing(STREAM),
    )
)
STREAMS_OF = {"plain": (0, 0), "shared": (1, 1), "gaps": (2, 2), "planes": (2, 9)}
"""The fewest and the most streams of a layout: `planes` has one for each byte of an element, and one more."""


@dataclass(frozen=True)
class _Member:
    """One member of the `.pt2` as the index has it; see tensors.CodedTensor."""

    name: str
    size: int
    width: int
    layout: tensors.Layout
    entries: int
    streams: tuple[Stream, ...]

    @property
    def plain_bytes(self) -> int:
        return self.size if self.layout == "plain" else self.entries * self.width

    @property
    def memory_bytes(self) -> int:
        """What decoding it takes at most, the symbols (2 bytes) included."""
        return self.size + 2 * sum(stream.count for stream in self.streams)


@dataclass(frozen=True)
class _Opened:
    """A file whose checksum and index have been checked; the offsets of its parts follow from the index."""

    members: tuple[_Member, ...]
    head: bytes
    symbols: bytes

    def plain(self) -> dict[str, bytes]:
        """The plain bytes of every member, by its name."""
        sizes = [member.plain_bytes for member in self.members]
        parts = _split(self.head, sizes)
        return {member.name: part for member, part in zip(self.members, parts, strict=True)}

    def tables(self) -> list[np.ndarray]:
        skipped = sum(member.plain_bytes for member in self.members)
        sizes = [stream.alphabet for member in self.members for stream in member.streams]
        return [np.frombuffer(part, np.uint8) for part in _split(self.head[skipped:], sizes)]


def encode(
    members: Mapping[str, bytes], widths: Mapping[str, int], coders: Sequence[Coder] = CODERS
) -> bytes:
    """The file with these members. `widths` are the bytes of an element for those that are tensors.

    Raises UnsupportedModel for what `decode` would refuse: too large, or nearly all the same.
    """
    coded = {name: _coded(content, widths.get(name), coders) for name, content in members.items()}
    index = tuple(
        _Member(
            name, len(members[name]), width, one.layout, one.entries, tuple(s.stream for s in one.streams)
        )
        for name, (width, one) in coded.items()
    )
    written = json.dumps([dataclasses.asdict(member) for member in index], separators=(",", ":")).encode()
    plain = [one.plain for _, one in coded.values()]
    found = [stream for _, one in coded.values() for stream in one.streams]
    head = b"".join([written, *plain, *(stream.table.tobytes() for stream in found)])
    squeezed = lzma.compress(head, lzma.FORMAT_RAW, filters=FILTERS)
    body = SIZES.pack(len(squeezed), len(head), len(written)) + squeezed + streams.write(found)
    content = MAGIC + _checksum(body) + body
    try:
        _check_bounds(index, len(content))
    except Refused as error:
        raise UnsupportedModel(
            f"A network with {error} cannot be stored as .{CODED_FORMAT}.",
            hint="keep the .pt2, which holds any network",
        ) from None
    return content


def decode(path: Path) -> dict[str, bytes]:
    """Every member's content by its name. Raises BadInput for what `encode` has not written."""
    try:
        return _decoded(_opened(path.read_bytes()))
    except ValueError as error:
        raise refusal(path, str(error)) from None


def read_text(path: Path, name: str) -> bytes:
    """The content of a member that is no tensor, without decoding the others; BadInput when there is none."""
    try:
        opened = _opened(path.read_bytes())
    except ValueError as error:
        raise refusal(path, str(error)) from None
    if not any(member.name == name and member.layout == "plain" for member in opened.members):
        raise refusal(path, f"it holds no {name}")
    return opened.plain()[name]


def _coded(content: bytes, width: int | None, coders: Sequence[Coder]) -> tuple[int, CodedTensor]:
    if width is None:
        return 1, CodedTensor("plain", content, 0, ())
    width = next(size for size in sorted(WIDTHS, reverse=True) if size <= width and len(content) % size == 0)
    return width, tensors.encode(content, width, coders)


def _opened(content: bytes) -> _Opened:
    body = content[len(MAGIC) + CHECKSUM_BYTES :]
    if not content.startswith(MAGIC):
        raise ValueError("it does not begin as one")
    if content[len(MAGIC) :][:CHECKSUM_BYTES] != _checksum(body) or len(body) < SIZES.size:
        raise ValueError("its checksum differs")
    squeezed_bytes, head_bytes, index_bytes = SIZES.unpack_from(body)
    squeezed = body[SIZES.size :][:squeezed_bytes]
    most_bytes = min(MOST_HEAD_BYTES, _most_bytes(len(content)))
    if head_bytes > most_bytes or index_bytes > MOST_INDEX_BYTES or len(squeezed) != squeezed_bytes:
        raise ValueError("a head of impossible size")
    head = _unsqueezed(squeezed, head_bytes)
    members = _members(head[:index_bytes])
    _check_bounds(members, len(content))
    tables = sum(stream.alphabet for member in members for stream in member.streams)
    if index_bytes + sum(member.plain_bytes for member in members) + tables != len(head):
        raise ValueError("a head that its index does not describe")
    return _Opened(members, head[index_bytes:], body[SIZES.size + squeezed_bytes :])


def _unsqueezed(squeezed: bytes, size: int) -> bytes:
    unpacker = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=FILTERS)
    try:
        head = unpacker.decompress(squeezed, max_length=size + 1)
    except lzma.LZMAError as error:
        raise ValueError(f"a damaged head ({error})") from None
    if len(head) != size:
        raise ValueError("a head of another size")
    return head


def _members(index: bytes) -> tuple[_Member, ...]:
    try:
        listed = json.loads(index)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"no index ({error})") from None
    INDEX(listed, "index")
    members = tuple(
        _Member(**{**entry, "streams": tuple(Stream(**stream) for stream in entry["streams"])})
        for entry in listed
    )
    for member in members:
        check_name(member.name)
        fewest, most = STREAMS_OF[member.layout]
        has_codebook = member.layout in ("shared", "gaps")
        fits = member.size % member.width == 0 and (has_codebook or not member.entries)
        if not fits or not fewest <= len(member.streams) <= most:
            raise Refused("parts that do not fit", member.name)
    if len({member.name for member in members}) < len(members):
        raise ValueError("a member that is there twice")
    return members


def _check_bounds(members: Sequence[_Member], file_bytes: int) -> None:
    tables = sum(stream.coder == "ans" for member in members for stream in member.streams)
    if tables > ans.MOST_TABLES:
        raise Refused(f"{tables:,} tables, more than {ans.MOST_TABLES:,},", "the index")
    if sum(member.memory_bytes for member in members) > 4 * _most_bytes(file_bytes):
        raise Refused(f"much more than {_most_bytes(file_bytes):,} bytes", f"a file of {file_bytes:,}")


def _most_bytes(file_bytes: int) -> int:
    return min(MOST_BYTES, max(ALWAYS_ALLOWED, MOST_EXPANSION * file_bytes))


def _decoded(opened: _Opened) -> dict[str, bytes]:
    all_streams = [stream for member in opened.members for stream in member.streams]
    symbols = iter(streams.read(opened.symbols, all_streams, opened.tables()))
    plain, found = opened.plain(), {}
    for member in opened.members:
        own = [next(symbols) for _ in member.streams]
        count = member.size // member.width
        content = tensors.decode(member.layout, plain[member.name], member.width, count, own)
        if len(content) != member.size:
            raise Refused(f"{len(content)} bytes in place of {member.size}", member.name)
        found[member.name] = content
    return found


def _split(content: bytes, sizes: Sequence[int]) -> list[bytes]:
    ends = np.cumsum([0, *sizes]).tolist()
    return [content[begin:end] for begin, end in zip(ends, ends[1:], strict=False)]


def _checksum(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=CHECKSUM_BYTES).digest()
