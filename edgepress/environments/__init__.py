"""Virtual environments for tools whose requirements conflict with ours: one file a tool, with one `ENVIRONMENT`.

They lie in the cache folder, each under a hash of what it holds. `edgepress doctor --make NAME` makes one.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edgepress import plugins
from edgepress.errors import BackendMissing
from edgepress.isolation import run
from edgepress.made_once import make_once, named_after


@dataclass(frozen=True, kw_only=True)
class IsolatedEnvironment:
    """`requirements` as pip takes them, pinned; `cost` is what making it takes: space and time."""

    name: str
    requirements: tuple[str, ...]
    cost: str

    @property
    def folder(self) -> Path:
        """Named after everything that decides about the content: the requirements and Python's version."""
        content = (*self.requirements, f"python {sys.version_info[0]}.{sys.version_info[1]}")
        return named_after("environments", self.name, content)

    @property
    def python(self) -> Path:
        """Its interpreter, there once it is made."""
        return self.folder / "bin" / "python"

    def is_made(self) -> bool:
        return self.python.exists()

    def require(self) -> None:
        """Raise BackendMissing, with the command that makes it and what that costs, unless it is made."""
        if not self.is_made():
            raise BackendMissing(
                f"The isolated environment for {self.name} is not set up yet.",
                where=str(self.folder),
                hint=f"edgepress doctor --make {self.name} ({self.cost})",
            )

    def make(self) -> None:
        """Make it where it is not; whole or not at all. BackendMissing with pip's last words otherwise."""
        make_once(self.folder, f"The isolated environment for {self.name}", self.is_made, self._fill)

    def _fill(self, folder: Path) -> None:
        for command in self._commands(folder):
            done = run(command, folder.parent, environment=os.environ)
            if not done.succeeded:
                raise BackendMissing(
                    f"The isolated environment for {self.name} cannot be made: {done.said}.",
                    where=str(self.folder),
                    hint=f"this needs access to pip's index, {self.cost}, and Python's venv module",
                )

    def _commands(self, folder: Path) -> Iterator[list[str | Path]]:
        yield [sys.executable, "-m", "venv", folder]
        pip = [str(folder / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "--no-input"]
        # A wheel or nothing: an old source package would build for an hour, against whatever compiler is here.
        yield [*pip, "install", "--quiet", "--no-cache-dir", "--only-binary", ":all:", *self.requirements]


def names() -> tuple[str, ...]:
    """Every environment there is."""
    return plugins.names(__name__)


def find(name: str) -> IsolatedEnvironment:
    """The environment called `name`; UnknownName otherwise."""
    found: IsolatedEnvironment = plugins.load(__name__, name, kind="isolated environment").ENVIRONMENT
    return found
