"""The way back: from a file of another framework to a Program, in a file named `<from>_to_program.py`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

from edgepress.convert._needs import Needs
from edgepress.preprocess import Preprocess
from edgepress.program import Program


@dataclass(frozen=True, kw_only=True)
class Reader(Needs, ABC):
    """The fields of a subclass are its options."""

    @abstractmethod
    def read(self, path: Path, preprocess: Preprocess | None = None) -> Program:
        """The network in the file; its batch is free."""

    @abstractmethod
    def batch(self, path: Path) -> int | None:
        """The batch that the file fixes; None where it is free there, too."""
