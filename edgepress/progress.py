"""How long-running work tells how far it is, without knowing who watches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized
from typing import Protocol, TypeVar

T = TypeVar("T")


class Progress(Protocol):
    """Called with what is being done and how many of how many steps are done (total None: unknown)."""

    def __call__(self, task: str, done: int, total: int | None) -> None: ...


def silent(task: str, done: int, total: int | None) -> None:
    """The watcher that watches nothing."""


def track(items: Iterable[T], task: str, progress: Progress, total: int | None = None) -> Iterator[T]:
    """Yield `items`, telling `progress` after each."""
    if total is None and isinstance(items, Sized):
        total = len(items)
    progress(task, 0, total)
    for done, item in enumerate(items, 1):
        yield item
        progress(task, done, total)
