"""Folders of the cache that take long to make: whole or not at all, by one process while others wait."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from edgepress.cache import CACHE_VARIABLE, cache_folder
from edgepress.errors import BackendMissing

DIGEST_CHARACTERS = 16


def named_after(kind: str, name: str, content: Iterable[str]) -> Path:
    """The folder of this kind whose name tells everything that decides about its content, as a hash."""
    digest = hashlib.sha256("\n".join(content).encode()).hexdigest()[:DIGEST_CHARACTERS]
    return cache_folder(kind) / f"{name}-{digest}"


def make_once(folder: Path, what: str, is_made: Callable[[], bool], fill: Callable[[Path], None]) -> None:
    """Make the folder where `is_made` does not find it made already.

    `fill` is given where to put everything, in the folder beside, which takes the name when that returns; what a killed
    run left there is cleared away first. Raises what `fill` raises, and BackendMissing where nothing can be written; `what` is for that message.
    """
    import fcntl  # not on Windows, where nothing is made but everything is imported

    unfinished = folder.with_name(folder.name + ".unfinished")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = folder.with_name(folder.name + ".lock").open("w")
    except OSError as error:
        raise BackendMissing(
            f"{what} cannot be made: {error.strerror}.",
            where=str(folder.parent),
            hint=f"set {CACHE_VARIABLE} to a folder that can be written",
        ) from None
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if is_made():
            return
        shutil.rmtree(unfinished, ignore_errors=True)
        try:
            fill(unfinished)
            shutil.rmtree(folder, ignore_errors=True)
            unfinished.rename(folder)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
