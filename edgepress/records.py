"""The JSON in which dataclasses of this project are kept: written and read in this one place.

pydantic is imported where it is needed: a device has none, and keeps no records.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from edgepress.errors import BadInput
from edgepress.files import existing_file, write_text

T = TypeVar("T")


def encode(value: Any, *, indent: int | None = 2) -> str:
    """A dataclass as JSON, on one line without `indent`."""
    from pydantic import TypeAdapter

    return TypeAdapter(type(value)).dump_json(value, indent=indent).decode()


def decode(cls: type[T], content: bytes, what: str, *, where: str, hint: str) -> T:
    """The dataclass that `encode` wrote; BadInput, which calls it `what`, for anything else."""
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(cls).validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = "".join(f"{part}." for part in first["loc"])[:-1]
        raise BadInput(
            f"{what} cannot be read: {place}{': ' if place else ''}{first['msg']}.", where=where, hint=hint
        ) from None


def load(cls: type[T], path: Path, what: str, *, hint: str) -> T:
    """The dataclass that `save` wrote; BadInput when the file, a `what`, is missing or does not fit."""
    content = existing_file(path, what).read_bytes()
    return decode(cls, content, path.name, where=str(path.absolute()), hint=hint)


def save(value: Any, path: Path) -> Path:
    """Write a dataclass, whole or not at all."""
    write_text(path, encode(value) + "\n")
    return path
