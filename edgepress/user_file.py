"""Running a function of the user's own Python file, named `path/to/file.py:function`.

The file is run because the user asked for it. Whatever it raises becomes BadInput with the user's line.
"""

from __future__ import annotations

import importlib.util
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from edgepress.errors import BadInput, EdgepressError, UnknownName
from edgepress.files import existing_file

T = TypeVar("T")


def find_function(location: str) -> Callable[..., Any]:
    """The function that `location` names. Raises BadInput when the file is missing, fails, or no function is
    named; UnknownName when the file has no such function."""
    text, _, name = location.rpartition(":")
    if not text or not name:
        bare = location.rstrip(":")
        raise BadInput(f"No function is named in {bare}.", where=location, hint=f"{bare}:NAME_OF_FUNCTION")
    file = existing_file(text, "Python file")
    spec = importlib.util.spec_from_file_location(f"_user_{file.stem}", file)
    if spec is None or spec.loader is None:
        raise BadInput(f"{file.name} is not a Python file.", where=location, hint="its name ends in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    loader = spec.loader
    call(lambda: loader.exec_module(module), file)
    known = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
    if name not in known:
        raise UnknownName("function", name, known, where=str(file))
    found: Callable[..., Any] = getattr(module, name)
    return found


def call(function: Callable[[], T], file: Path) -> T:
    """The result of `function`, which runs code of `file` and may import what lies beside it."""
    try:
        with _importing_from(file.resolve().parent):
            return function()
    except EdgepressError:
        raise
    except (Exception, SystemExit) as error:
        raise BadInput(
            f"{file.name} failed with {type(error).__name__}: {error}",
            where=_line(error, file),
            hint="fix the file; running it with python shows the same error",
        ) from error


@contextmanager
def _importing_from(folder: Path) -> Iterator[None]:
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


def _line(error: BaseException, file: Path) -> str:
    """The innermost line that is in the user's file or beside it."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}: {(error.text or '').strip()}"
    folder = file.resolve().parent
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if Path(frame.filename).resolve().is_relative_to(folder)]
    return f"{own[-1].filename}:{own[-1].lineno}: {own[-1].line}" if own else str(file)
