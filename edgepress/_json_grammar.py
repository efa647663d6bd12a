"""A grammar for JSON: small checks that are put together, and that refuse whatever they do not name.

A check takes a value and the place it stands at, and raises Refused when the value is not allowed there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import Any

Check = Callable[[Any, str], None]
LARGEST_INTEGER = 2**63 - 1


class Refused(ValueError):
    """`what` was found at `place`."""

    def __init__(self, what: str, place: str) -> None:
        super().__init__(f"{what} at {place}")


def constant(*allowed: Any) -> Check:
    """Exactly one of these values, of the same type."""

    def check(value: Any, place: str) -> None:
        if not any(type(value) is type(one) and value == one for one in allowed):
            raise _found(value, place)

    return check


def integer(low: int = -LARGEST_INTEGER - 1, high: int = LARGEST_INTEGER) -> Check:
    def check(value: Any, place: str) -> None:
        if type(value) is not int or not low <= value <= high:
            raise _found(value, place)

    return check


def number(value: Any, place: str) -> None:
    """A float, also as the words that stand for what JSON cannot write."""
    if type(value) not in (int, float) and value not in ("Infinity", "-Infinity", "NaN"):
        raise _found(value, place)


def flag(value: Any, place: str) -> None:
    if type(value) is not bool:
        raise _found(value, place)


def text(pattern: str = r"[^\x00]*", longest: int = 200, words: Collection[str] = ()) -> Check:
    """A string that the whole of `pattern` matches; none of `words`."""
    compiled = re.compile(pattern)

    def check(value: Any, place: str) -> None:
        if type(value) is not str or len(value) > longest or not compiled.fullmatch(value) or value in words:
            raise _found(value, place)

    return check


def optional(check: Check) -> Check:
    return lambda value, place: None if value is None else check(value, place)


def listing(check: Check) -> Check:
    def each(value: Any, place: str) -> None:
        if type(value) is not list:
            raise _found(value, place)
        for number, item in enumerate(value):
            check(item, f"{place}[{number}]")

    return each


def mapping(key: Check, check: Check) -> Check:
    def each(value: Any, place: str) -> None:
        if type(value) is not dict:
            raise _found(value, place)
        for name, item in value.items():
            key(name, place)
            check(item, f"{place}.{name}")

    return each


def record(**fields: Check) -> Check:
    """An object with exactly these keys."""
    inner = partial(**fields)

    def check(value: Any, place: str) -> None:
        inner(value, place)
        for name in fields:
            if name not in value:
                raise Refused(f"no {name!r}", place)

    return check


def partial(**fields: Check) -> Check:
    """An object with no other keys than these."""

    def check(value: Any, place: str) -> None:
        if type(value) is not dict:
            raise _found(value, place)
        for name, item in value.items():
            if name not in fields:
                raise Refused(f"the unknown key {name[:80]!r}", place)
            fields[name](item, f"{place}.{name}")

    return check


def union(**kinds: Check) -> Check:
    """An object with exactly one of these keys."""
    inner = partial(**kinds)

    def check(value: Any, place: str) -> None:
        if type(value) is not dict or len(value) != 1:
            raise _found(value, place)
        inner(value, place)

    return check


def _found(value: Any, place: str) -> Refused:
    shown = repr(value)
    return Refused(shown if len(shown) <= 120 else f"{shown[:120]}...", place)
