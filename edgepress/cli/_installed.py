"""Whether this machine has what it takes to write formats and to run them."""

from __future__ import annotations

from collections.abc import Sequence

from edgepress import convert, runtime


def require(formats: Sequence[str]) -> None:
    """Raise BackendMissing, with the way to get it, for what is missing to write these formats or to run each on the
    first of its runners."""
    for format in formats:
        for edge in convert.route(format):
            convert.find(*edge).require()
        for name in runtime.runners_of(format)[:1]:
            runtime.find(name).require()
