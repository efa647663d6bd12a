"""What the command line says of exceptions that nobody raised on purpose: the machine's refusals, and bugs."""

from __future__ import annotations

import os
import traceback
from pathlib import Path

import edgepress
from edgepress.errors import BackendMissing, EdgepressError, UsageError

DEBUG = "EDGEPRESS_DEBUG"
"""Set in the environment, it lets such an exception through with its traceback."""

ROOT = Path(edgepress.__file__).parent.parent


def debugging() -> bool:
    return bool(os.environ.get(DEBUG))


def in_own_words(error: Exception) -> EdgepressError:
    """What happened, where, and what to do; exit code 2 where the machine refused,
    6 where a package is missing, 1 for a bug."""
    if _is_out_of_memory(error):
        return UsageError(
            "There is not enough memory for this step.",
            where=_last_word(error),
            hint="a smaller input, batch or network, or a larger machine",
        )
    if isinstance(error, OSError):
        return UsageError(
            f"The operating system refused: {error.strerror or error}.",
            where=str(error.filename or _place(error)),
            hint="check the path, its permissions and the space left",
        )
    if isinstance(error, ModuleNotFoundError) and error.name and not error.name.startswith("edgepress"):
        package = error.name.partition(".")[0]
        return BackendMissing(f"The package {package!r} is not installed.", hint=f"pip install {package}")
    return EdgepressError(
        f"This is a bug in edgepress: {type(error).__name__}: {_last_word(error)}",
        where=_place(error),
        hint=f"report it with its traceback: the same command with {DEBUG}=1",
    )


def _is_out_of_memory(error: Exception) -> bool:
    """PyTorch on the CPU says so in a plain RuntimeError."""
    return isinstance(error, MemoryError) or "can't allocate memory" in str(error)


def _last_word(error: Exception) -> str:
    """The exception's message on one line of bearable length."""
    text = " ".join(str(error).split())
    return text if len(text) <= 300 else f"{text[:300]} ..."


def _place(error: Exception) -> str:
    """The innermost line of edgepress's own that the exception came through."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if Path(frame.filename).is_relative_to(ROOT)] or frames
    return f"{own[-1].filename}:{own[-1].lineno}" if own else ""
