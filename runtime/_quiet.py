"""Keeps what a C library prints by itself off the standard output, which belongs to our results, or the standard error."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

STANDARD_OUTPUT, STANDARD_ERROR = 1, 2


@contextmanager
def quiet(descriptor: int = STANDARD_OUTPUT) -> Iterator[None]:
    """Send the process's standard output, or its standard error, to nowhere meanwhile."""
    (sys.stdout if descriptor == STANDARD_OUTPUT else sys.stderr).flush()
    kept, nowhere = os.dup(descriptor), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, descriptor)
        yield
    finally:
        os.dup2(kept, descriptor)
        os.close(kept)
        os.close(nowhere)
