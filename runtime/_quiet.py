"""Keeps what a C library prints by itself off the standard output, which belongs to our results, or the standard error."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

STANDARD_OUTPUT, STANDARD_ERROR = 1, 2


@contextmanager
def quiet(descriptor: int = STANDARD_OUTPUT) -> Iterator[None]:
    """Send the process's standard output, or its standard error, to nowhere meanwhile."""
    with open(os.devnull, "wb") as nowhere, _sent(descriptor, nowhere):
        yield


@contextmanager
def without_line(line: bytes) -> Iterator[None]:
    """Leave one line out of the standard error; everything else arrives, at the end."""
    with tempfile.TemporaryFile() as written:
        try:
            with _sent(STANDARD_ERROR, written):
                yield
        finally:
            written.seek(0)
            for each in written:
                if each.strip() != line:
                    os.write(STANDARD_ERROR, each)


@contextmanager
def _sent(descriptor: int, file: IO[bytes]) -> Iterator[None]:
    """Have what the process writes to a descriptor go to a file meanwhile."""
    (sys.stdout if descriptor == STANDARD_OUTPUT else sys.stderr).flush()
    kept = os.dup(descriptor)
    try:
        os.dup2(file.fileno(), descriptor)
        yield
    finally:
        os.dup2(kept, descriptor)
        os.close(kept)
