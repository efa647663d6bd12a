"""The way back: from a file of another framework to a Program, in a file named `<from>_to_program.py`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

from edgepress import plugins
from edgepress.preprocess import Preprocess
from edgepress.program import Program


@dataclass(frozen=True, kw_only=True)
class Reader(ABC):
    """The fields of a subclass are its options. `requires` and `extra` are as in Runner."""

    @classmethod
    def requires(cls) -> tuple[str, ...]:
        """The packages that `read` imports."""
        return ()

    @classmethod
    def extra(cls) -> str:
        """The extra of ours that installs them."""
        return ""

    @classmethod
    def require(cls) -> None:
        """Raise BackendMissing, with the way to get it, unless this machine has what `read` needs."""
        plugins.require(*cls.requires(), extra=cls.extra())

    @abstractmethod
    def read(self, path: Path, preprocess: Preprocess | None = None) -> Program:
        """The network in the file; its batch is free."""

    @abstractmethod
    def batch(self, path: Path) -> int | None:
        """The batch that the file fixes; None where it is free there, too."""
