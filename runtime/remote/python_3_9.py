"""What our files use of Python 3.10, for boards whose system has 3.9."""

from __future__ import annotations

import builtins
import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

PLAIN_ZIP, PLAIN_DATACLASS = builtins.zip, dataclasses.dataclass
MISSING = object()


def complete() -> None:
    """Give this process `zip(strict=True)`, `itertools.pairwise` and `dataclass(kw_only=True)`."""
    for module, name, added in (
        (builtins, "zip", _zip),
        (dataclasses, "dataclass", _dataclass),
        (itertools, "pairwise", _pairwise),
    ):
        setattr(module, name, added)


def _zip(*iterables: Iterable[Any], strict: bool = False) -> Iterator[tuple[Any, ...]]:
    return _strictly(iterables) if strict else PLAIN_ZIP(*iterables)


def _strictly(iterables: tuple[Iterable[Any], ...]) -> Iterator[tuple[Any, ...]]:
    for row in itertools.zip_longest(*iterables, fillvalue=MISSING):
        if any(value is MISSING for value in row):
            raise ValueError("zip() arguments are not equally long")
        yield row


def _pairwise(items: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
    first, second = itertools.tee(items)
    next(second, None)
    return PLAIN_ZIP(first, second)


def _dataclass(cls: type | None = None, *, kw_only: bool = False, **options: bool) -> Any:
    """With keywords only, a field that must be given may stand behind others, inherited ones as well, that have a default:
    here it has one that refuses."""

    def decorate(decorated: type) -> Any:
        if kw_only:
            for name in decorated.__dict__.get("__annotations__", {}):
                if name not in vars(decorated):
                    setattr(decorated, name, dataclasses.field(default_factory=_Missing(name)))
        make: Callable[..., Any] = PLAIN_DATACLASS
        return make(decorated, **options)

    return decorate if cls is None else decorate(cls)


@dataclasses.dataclass(frozen=True)
class _Missing:
    """The value of an argument that was not given."""

    name: str

    def __call__(self) -> Any:
        raise TypeError(f"missing a required keyword argument: {self.name!r}")
