"""`result.json` of a compression run: what the network was, what each stage made of it, what it is now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

from edgepress import records
from edgepress.accuracy import Score
from edgepress.history import Value

RESULT_FILE, RECIPE_FILE = "result.json", "recipe.yaml"
"""What a run's folder says of it; networks lie beside it."""


@dataclass(frozen=True, kw_only=True)
class LayerFacts:
    """One layer under the user's name for it; `nonzero` are its parameters that are not zero. None: this could not
    be counted, which is not zero."""

    name: str
    type: str
    parameters: int = 0
    nonzero: int | None = None
    macs: int | None = None
    weight_bytes: int | None = None


@dataclass(frozen=True, kw_only=True)
class Totals:
    """What a network comes to: `nonzero` of its parameters are not zero, `macs` for a single sample, `weight_bytes` its
    parameters and buffers as stored, `deflated_bytes` the same behind a general compressor (see edgepress.deflate),
    `size_bytes` its `.pt2`. None: an older edgepress has not counted it."""

    parameters: int
    nonzero: int | None = None
    macs: int
    weight_bytes: int
    deflated_bytes: int | None = None
    size_bytes: int


@dataclass(frozen=True, kw_only=True)
class NetworkFacts(Totals):
    """One network; `accuracy` is None where there was no labelled data."""

    accuracy: Score | None = None
    layers: tuple[LayerFacts, ...] = ()

    def totals(self) -> dict[str, int | None]:
        return {field.name: getattr(self, field.name) for field in fields(Totals)}


@dataclass(frozen=True, kw_only=True)
class AccuracyChange:
    """Around one stage; None where it was not measured."""

    before: Score | None = None
    after: Score | None = None


@dataclass(frozen=True, kw_only=True)
class StageResult(Totals):
    """The network as one stage left it, how long that took, and what the stage itself reported (`results`)."""

    name: str
    options: Mapping[str, Value] = field(default_factory=dict)
    accuracy: AccuracyChange = AccuracyChange()
    seconds: float
    results: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """A whole run. `model` and `data` are the texts the user gave; `compressed` is the last finished stage's."""

    model: str
    data: str = ""
    original: NetworkFacts
    compressed: NetworkFacts
    stages: tuple[StageResult, ...] = ()

    @classmethod
    def load(cls, folder: Path) -> RunResult:
        """Read the `result.json` of a run folder; BadInput when it is missing or does not fit."""
        hint = "write it again with edgepress compress"
        return records.load(cls, folder / RESULT_FILE, "result of a run", hint=hint)

    def save(self, folder: Path) -> Path:
        """Write `result.json` into the run folder, whole or not at all."""
        return records.save(self, folder / RESULT_FILE)
