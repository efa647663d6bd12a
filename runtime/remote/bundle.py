"""What runs on a device: one zip file of ours, made on the fly, that any Python from 3.9 on with NumPy executes.

It holds the files that are reached by imports from the agent and the portable runners, and no others.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

from edgepress.cache import cache_folder
from edgepress.files import write_bytes
from edgepress.runtime._runner import Runner

AGENT = "edgepress.benchmarks._agent"
FIRST = {
    "edgepress.runtime.remote.start": "__main__.py",
    "edgepress.runtime.remote.python_3_9": "python_3_9.py",
}
"""What runs before the agent, and its names in the zip file."""

NOT_THERE = ("edgepress.runtime.remote", "edgepress.devices.ssh", "edgepress.devices.adb")
"""This machine's side, which the files of the other import where they never come by."""

EPOCH = (1980, 1, 1, 0, 0, 0)
"""The same files make the same bytes, whenever: so a device that has them is sent none."""


def portable_runners() -> dict[str, type[Runner]]:
    """Those that run elsewhere, by name."""
    from edgepress import runtime

    return {name: found for name in runtime.names() if (found := runtime.find(name)).portable}


@functools.cache
def bundle() -> Path:
    """The zip file, in the cache folder under the hash of its content."""
    roots = [*FIRST, AGENT, *(found.__module__ for found in portable_runners().values())]
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w") as archive:
        for name, source in sorted(_reached(roots).items()):
            member = name.replace(".", "/") + ("/__init__.py" if source.stem == "__init__" else ".py")
            info = zipfile.ZipInfo(FIRST.get(name, member), EPOCH)
            archive.writestr(info, source.read_bytes(), zipfile.ZIP_DEFLATED)
    content = memory.getvalue()
    path = cache_folder("agent") / f"{hashlib.sha256(content).hexdigest()}.pyz"
    if not path.exists():
        write_bytes(path, content)
    return path


def _reached(roots: list[str]) -> dict[str, Path]:
    """The modules that the roots import, on whatever way, and their files."""
    found: dict[str, Path] = {}
    waiting = list(roots)
    while waiting:
        name = waiting.pop()
        source = _source(name)
        if source is None or name in found:
            continue
        found[name] = source
        waiting += [name.rpartition(".")[0], *_imported(source)]
    return found


def _imported(source: Path) -> Iterator[str]:
    """Every name that the file imports when it runs; of `from a import b` also a.b, which may be a module."""
    waiting: list[ast.AST] = [ast.parse(source.read_text(encoding="utf-8"))]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        waiting += ast.iter_child_nodes(node)
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _source(name: str) -> Path | None:
    """The file of a module that travels; None for any other name."""
    ours = name.partition(".")[0] == "edgepress" and (name in FIRST or not name.startswith(NOT_THERE))
    if not ours:
        return None
    try:
        spec = importlib.util.find_spec(name)
    except ModuleNotFoundError:  # a name inside a module
        return None
    return Path(spec.origin) if spec and spec.origin else None
