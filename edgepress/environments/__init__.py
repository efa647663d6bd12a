"""Virtual environments for tools whose requirements conflict with ours: one file a tool, with one `ENVIRONMENT`.

They lie in the cache folder, each under a hash of what it holds. `edgepress doctor --make NAME` makes one.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edgepress import plugins
from edgepress.cache import cache_folder
from edgepress.errors import BackendMissing
from edgepress.isolation import run

DIGEST_CHARACTERS = 16


@dataclass(frozen=True, kw_only=True)
class IsolatedEnvironment:
    """`requirements` as pip takes them, pinned; `cost` is what making it takes: space and time."""

    name: str
    requirements: tuple[str, ...]
    cost: str

    @property
    def folder(self) -> Path:
        """Named after everything that decides about the content: the requirements and Python's version."""
        content = "\n".join([*self.requirements, f"python {sys.version_info[0]}.{sys.version_info[1]}"])
        digest = hashlib.sha256(content.encode()).hexdigest()[:DIGEST_CHARACTERS]
        return cache_folder("environments") / f"{self.name}-{digest}"

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
                f"The isolated environment for {self.name} is not made yet.",
                where=str(self.folder),
                hint=f"edgepress doctor --make {self.name} ({self.cost})",
            )

    def make(self) -> None:
        """Make it where it is not; whole or not at all. BackendMissing with pip's last words otherwise.

        The folder takes its name when it is complete; what a killed run left is cleared away first.
        """
        with self._locked() as unfinished:
            if self.is_made():
                return
            shutil.rmtree(unfinished, ignore_errors=True)
            try:
                for command in self._commands(unfinished):
                    done = run(command, unfinished.parent, environment=os.environ)
                    if not done.succeeded:
                        raise BackendMissing(
                            f"The isolated environment for {self.name} cannot be made: {done.said}.",
                            where=str(self.folder),
                            hint=f"it needs pip's index, {self.cost}, and Python's venv module",
                        )
                shutil.rmtree(self.folder, ignore_errors=True)
                unfinished.rename(self.folder)
            finally:
                shutil.rmtree(unfinished, ignore_errors=True)

    def _commands(self, folder: Path) -> Iterator[list[str | Path]]:
        yield [sys.executable, "-m", "venv", folder]
        pip = [str(folder / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "--no-input"]
        # A wheel or nothing: an old source package would build for an hour, against whatever compiler is here.
        yield [*pip, "install", "--quiet", "--no-cache-dir", "--only-binary", ":all:", *self.requirements]

    @contextlib.contextmanager
    def _locked(self) -> Iterator[Path]:
        """Where it is being made, while no other process makes it."""
        try:
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            lock = self.folder.with_suffix(".lock").open("w")
        except OSError as error:
            raise BackendMissing(
                f"The isolated environment for {self.name} cannot be made: {error.strerror}.",
                where=str(self.folder.parent),
                hint="set EDGEPRESS_CACHE to a folder that can be written",
            ) from None
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield self.folder.with_suffix(".unfinished")


def names() -> tuple[str, ...]:
    """Every environment there is."""
    return plugins.names(__name__)


def find(name: str) -> IsolatedEnvironment:
    """The environment called `name`; UnknownName otherwise."""
    found: IsolatedEnvironment = plugins.load(__name__, name, kind="isolated environment").ENVIRONMENT
    return found
