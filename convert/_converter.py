"""One edge between formats, with its options: a frozen dataclass in a file named `<from>_to_<to>.py`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from edgepress.artifact import Artifact, Manifest
from edgepress.convert._needs import Needs
from edgepress.convert._unsupported import UnsupportedOperator, refusal
from edgepress.history import CONVERTS
from edgepress.program import Program

Source = TypeVar("Source", Program, Artifact)


@dataclass(frozen=True, kw_only=True)
class Converter(Needs, ABC, Generic[Source]):
    """The fields of a subclass are the edge's options."""

    @classmethod
    def edge(cls) -> tuple[str, str]:
        """(from, to); `program` stands for a Program, every other word is an artifact's format."""
        start, _, end = cls.__module__.rpartition(".")[2].partition(CONVERTS)
        return start, end

    @classmethod
    def on_the_way(cls) -> Converter[Source]:
        """The edge as it is taken on the way to another format, whose converters read plainer files than runtimes do."""
        return cls()

    @classmethod
    def require_to_ask(cls) -> None:
        """Raise BackendMissing unless this machine has what `check` needs; less than `write` does, where it can."""
        cls.require()

    @classmethod
    def asks(cls) -> bool:
        """Whether there is anything that `check` could refuse."""
        return cls.check is not Converter.check or cls.unsupported is not Converter.unsupported

    def unsupported(self, source: Source) -> Sequence[UnsupportedOperator]:
        """Every operator, in the order of execution, that the format cannot express as the network uses it: before any
        work, and as far as this can be foreseen.

        Raises UnsupportedModel for what is not the matter of single operators.
        """
        return ()

    def check(self, source: Source) -> None:
        """Raise UnsupportedModel, naming the user's layers, for what the format cannot express: before any work.

        What a subclass checks besides goes before `super().check(source)`.
        """
        if found := self.unsupported(source):
            raise refusal(self.edge()[1], found)

    @abstractmethod
    def write(self, source: Source, path: Path) -> Manifest:
        """Write the file at `path` and describe it; hash and size are filled in by the caller."""
