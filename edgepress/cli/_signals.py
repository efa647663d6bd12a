"""Ctrl-C and SIGTERM end a run alike, wherever they find it: what is half written is removed."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Terminated(KeyboardInterrupt):
    """SIGTERM, as an exception."""


_came: list[type[KeyboardInterrupt]] = []


def listen() -> None:
    """Raise both signals as exceptions, and remember them; an ignored SIGINT (a background job's) stays ignored."""
    signal.signal(signal.SIGTERM, _stop)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _stop)


@contextmanager
def stopping() -> Iterator[None]:
    """Within it, whatever breaks after a signal came is that signal's doing: a library that is interrupted in the
    middle of a call back into Python may raise an error of its own instead."""
    try:
        yield
    except Exception as error:
        if _came:
            raise _came[-1] from error
        raise


def _stop(number: int, frame: FrameType | None) -> None:
    _came.append(Terminated if number == signal.SIGTERM else KeyboardInterrupt)
    raise _came[-1]
