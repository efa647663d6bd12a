"""A command that `accelerate launch` runs in several processes: all work, the first alone leaves something behind."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Settled:
    """Where this process writes, and whether anybody will look at it."""

    folder: Path
    is_first: bool


def rank() -> int:
    """This process's number among those launched together."""
    return int(os.environ.get("RANK", "0"))


@contextmanager
def only_the_first_writes(folder: Path) -> Iterator[Settled]:
    """`folder` in the first process; in the others one that goes away, and no words on stderr."""
    if rank() == 0:
        yield Settled(folder, is_first=True)
        return
    with tempfile.TemporaryDirectory() as name, open(os.devnull, "w") as nowhere, redirect_stderr(nowhere):
        yield Settled(Path(name), is_first=False)
