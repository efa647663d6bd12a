"""The folder listing is the registry: a method, a converter or a backend is one file, found by its name.

Files that begin with an underscore are infrastructure and are never listed. Listing imports nothing.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import pkgutil
from pathlib import Path
from types import ModuleType
from typing import Any, get_origin

from edgepress.errors import BackendMissing, UnknownName


def names(package: str, prefix: str = "") -> tuple[str, ...]:
    """The public modules of `package` whose file name starts with `prefix`, without it, sorted."""
    spec = importlib.util.find_spec(package)
    locations = spec.submodule_search_locations if spec else None
    found = (module.name for module in pkgutil.iter_modules(locations or []))
    return tuple(
        sorted(
            name.removeprefix(prefix)
            for name in found
            if not name.startswith("_") and name.startswith(prefix)
        )
    )


def summary(package: str, name: str) -> str:
    """The first sentence of the module's docstring, read without importing the module."""
    spec = importlib.util.find_spec(f"{package}.{name}")
    if spec is None or spec.origin is None:
        return ""
    docstring = ast.get_docstring(ast.parse(Path(spec.origin).read_text(encoding="utf-8"))) or ""
    return " ".join(docstring.partition("\n\n")[0].split())


def load(package: str, name: str, *, kind: str, prefix: str = "") -> ModuleType:
    """Import the module called `name`; UnknownName (with the nearest) when the folder has none."""
    known = names(package, prefix)
    if name not in known:
        raise UnknownName(kind, name, known)
    return importlib.import_module(f"{package}.{prefix}{name}")


def only_class(module: ModuleType, base: type) -> Any:
    """The one class with this base, itself not abstract, that the module defines."""
    (found,) = (
        member
        for member in vars(module).values()
        # To Python 3.10, `list[int]` is a class too, but none that has a base.
        if inspect.isclass(member) and get_origin(member) is None
        if issubclass(member, base)
        and member.__module__ == module.__name__
        and not inspect.isabstract(member)
    )
    return found


def require(*packages: str, extra: str) -> None:
    """Raise BackendMissing, with the way to get it, unless every one of `packages` can be imported."""
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise BackendMissing(
                f"The package {package!r} is not installed.",
                hint=f"pip install 'edgepress[{extra}]'" if extra else f"pip install {package}",
            )
