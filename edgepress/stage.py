"""One compression step with its options: a frozen dataclass that turns a Program into a Program."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from edgepress import plugins
from edgepress.data import Data, Split
from edgepress.history import Value
from edgepress.progress import Progress, silent
from edgepress.rules import Rules
from edgepress.stopwatch import Stopwatch

if TYPE_CHECKING:
    from edgepress.program import Program

PACKAGE = "edgepress.compress"


@dataclass(frozen=True, kw_only=True)
class Stage(ABC):
    """The base of every method in compress/. The fields of a subclass are its options.

    The module's first line is the help text; the file's name is the stage's name. `shorthand` is the
    option that a bare value on the command line sets: `--distill self` is `--distill teacher=self`.
    `makes_int8` says that what comes out is quantized, `takes_int8` that this may also go in,
    `needs_labels` that data without labels will not do, whatever the options: so a recipe is checked before it runs.
    """

    shorthand: ClassVar[str] = ""
    per_layer: ClassVar[frozenset[str]] = frozenset()
    """The options that rules may change for single layers."""
    skips_layers: ClassVar[bool] = False
    """Whether rules may leave layers out of the stage though no option can differ between them."""
    takes_int8: ClassVar[bool] = False
    makes_int8: ClassVar[bool] = False
    needs_labels: ClassVar[bool] = False

    @classmethod
    def name(cls) -> str:
        return cls.__module__.rpartition(".")[2]

    @classmethod
    def described_by(cls) -> str:
        """The way to what the options take, as a hint."""
        return f"edgepress stages {cls.name()} lists the options and what they take"

    @classmethod
    def is_ruled(cls) -> bool:
        """Whether rules for single layers can say anything about the stage."""
        return cls.skips_layers or bool(cls.per_layer)

    def needs(self) -> frozenset[Split]:
        """The splits of the data that `apply` reads with these options."""
        return frozenset()

    def requires_labels(self) -> bool:
        """Whether data without labels will not do with these options."""
        return self.needs_labels

    def teachers(self) -> frozenset[str]:
        """The MODEL texts of the networks that `apply` learns from with these options."""
        return frozenset()

    def times_on(self) -> frozenset[str]:
        """The targets on which `apply` times networks with these options."""
        return frozenset()

    def check(self, program: Program) -> None:  # noqa: B027  a stage that takes any program overrides nothing
        """Raise Unsupported when this program cannot be handled: called before any stage runs."""

    @abstractmethod
    def apply(self, program: Program, context: Context) -> Outcome:
        """The compressed program and what was measured on the way. `program` itself stays as it is."""


@dataclass(frozen=True)
class Outcome:
    """What a stage returns. `results` goes into the history and into result.json."""

    program: Program
    results: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Context:
    """What a stage may use besides its own options.

    `data` is set whenever the stage's `needs()` is not empty. `original` is the network before the
    first stage. `load_model` turns a MODEL text (a .pt2 or .epz, a zoo name, file.py:factory) into a Program.
    `announce` takes a few lines for the user to read before the work starts, such as a plan. `stopwatch` is set
    whenever the stage's `times_on()` is not empty. `checkpoint` is the file in which a training keeps its state, so that
    a run that was cut off goes on after its last whole epoch.
    """

    original: Program
    load_model: Callable[[str], Program]
    data: Data | None = None
    rules: Rules = field(default_factory=Rules)
    progress: Progress = silent
    announce: Callable[[str], None] = lambda text: None
    seed: int = 0
    stopwatch: Stopwatch | None = None
    checkpoint: Path | None = None

    def required_data(self) -> Data:
        assert self.data is not None, "compress.apply checks needs() before it calls a stage"
        return self.data

    def required_stopwatch(self) -> Stopwatch:
        assert self.stopwatch is not None, "compress.apply checks times_on() before it calls a stage"
        return self.stopwatch


def names() -> tuple[str, ...]:
    """Every stage there is: the files of compress/."""
    return plugins.names(PACKAGE)


def find(name: str) -> type[Stage]:
    """The stage called `name`; UnknownName otherwise."""
    found: type[Stage] = plugins.only_class(plugins.load(PACKAGE, name, kind="stage"), Stage)
    return found
