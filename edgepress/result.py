"""`result.json` of a compression run: what the network was, what each stage made of it, what it is now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edgepress.accuracy import Score
from edgepress.artifact import encode
from edgepress.errors import BadInput
from edgepress.files import existing_file, write_text
from edgepress.history import Value

RESULT_FILE = "result.json"


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
class NetworkFacts:
    """One network: `nonzero` of its parameters are not zero, `macs` for a single sample, `weight_bytes` its parameters
    and buffers as stored, `deflated_bytes` the same behind a general compressor (see edgepress.deflate), `size_bytes`
    its `.pt2`, `accuracy` None where there was no labelled data. None: an older edgepress has not counted it."""

    parameters: int
    nonzero: int | None = None
    macs: int
    weight_bytes: int
    deflated_bytes: int | None = None
    size_bytes: int
    accuracy: Score | None = None
    layers: tuple[LayerFacts, ...] = ()


@dataclass(frozen=True, kw_only=True)
class AccuracyChange:
    """Around one stage; None where it was not measured."""

    before: Score | None = None
    after: Score | None = None


@dataclass(frozen=True, kw_only=True)
class StageResult:
    """The network as one stage left it, how long that took, and what the stage itself reported (`results`)."""

    name: str
    options: Mapping[str, Value] = field(default_factory=dict)
    parameters: int
    nonzero: int | None = None
    macs: int
    weight_bytes: int
    deflated_bytes: int | None = None
    size_bytes: int
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
        from pydantic import TypeAdapter, ValidationError

        path = existing_file(folder / RESULT_FILE, "result of a run")
        try:
            return TypeAdapter(cls).validate_json(path.read_bytes())
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise BadInput(
                f"{RESULT_FILE} cannot be read: {where}: {first['msg']}."
                if where
                else f"{RESULT_FILE} is not JSON.",
                where=str(path.absolute()),
                hint="write it again with edgepress compress",
            ) from None

    def save(self, folder: Path) -> Path:
        """Write `result.json` into the run folder, whole or not at all."""
        path = folder / RESULT_FILE
        write_text(path, encode(self) + "\n")
        return path
