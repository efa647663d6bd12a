"""What was done to a network, in order: it is written into every file made from it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

try:
    from pydantic import JsonValue
except ImportError:  # a device, which reads and writes no history
    JsonValue = object  # type: ignore[assignment,misc]  # stands in for a type

Value = JsonValue
"""What JSON and YAML can hold."""


CONVERTS = "_to_"
"""Stands between the two formats in a conversion's name, and in no stage's."""


def stages_among(steps: Iterable[str]) -> tuple[str, ...]:
    """Of the names of steps those of compression stages. Without one a network is the original, converted perhaps."""
    return tuple(step for step in steps if CONVERTS not in step)


@dataclass(frozen=True)
class Step:
    """One thing that was done: its name (a stage or a converter), its options, and what it measured."""

    name: str
    options: Mapping[str, Value] = field(default_factory=dict)
    results: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True)
class History:
    """The steps so far, oldest first."""

    steps: tuple[Step, ...] = ()

    def then(self, step: Step) -> History:
        return History((*self.steps, step))

    def names(self) -> tuple[str, ...]:
        return tuple(step.name for step in self.steps)
