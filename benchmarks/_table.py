"""The comparison table as data: one row for each network on each runtime, ready to print or to put on a page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgepress.accuracy import Score
from edgepress.artifact import PROGRAM_FORMAT
from edgepress.benchmarks import _numbers as numbers
from edgepress.benchmarks._measurement import Measurement
from edgepress.benchmarks._ratio import Ratio, are_comparable, ratio
from edgepress.benchmarks._warnings import (
    EMULATED,
    cost_warning,
    integer_warning,
    is_emulated,
    of_disturbed_ratio,
)
from edgepress.result import NetworkFacts, RunResult, StageResult

SCORED = "score"
"""The column that is named after its measure."""
COLUMNS = (
    "network", "runtime", "threads", "precision", SCORED, "size", "parameters", "MACs", "median ms", "p90 ms", "× original", "95 % interval",
)  # fmt: skip

COUNTED = "instructions (emulated)"
"""The column behind COLUMNS where any row is of an emulated device, which has no latency."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """None: not known. `ratio` is latency (on an emulated device, instructions) over that of the original on the same runtime, threads and batch."""

    network: str
    runtime: str
    threads: int
    precision: str
    score: Score | None
    size_bytes: int
    parameters: int | None
    macs: int | None
    median_ms: float | None
    p90_ms: float | None
    ratio: Ratio | None
    measurement: Measurement

    def cells(self) -> tuple[str, ...]:
        """One text for each of COLUMNS, and for COUNTED."""
        return (
            self.network,
            self.runtime,
            str(self.threads),
            self.precision,
            numbers.percent(self.percent),
            numbers.size(self.size_bytes),
            numbers.count(self.parameters),
            numbers.count(self.macs),
            numbers.milliseconds(self.median_ms),
            numbers.milliseconds(self.p90_ms),
            numbers.times(self.ratio.value if self.ratio else None),
            self.interval,
            numbers.count(self.measurement.median_instructions),
        )

    @property
    def percent(self) -> float | None:
        return self.score.percent if self.score else None

    @property
    def interval(self) -> str:
        """`0.36–0.38`; a dash for the original, which is compared with itself."""
        if self.ratio is None or self.measurement.is_original:
            return numbers.DASH
        return f"{numbers.times(self.ratio.low)}–{numbers.times(self.ratio.high)}"


@dataclass(frozen=True)
class Table:
    """`findings` say which ratio is not what it seems, `noise` how far to trust single latencies."""

    rows: tuple[Row, ...]
    findings: tuple[str, ...] = ()
    noise: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        named = tuple(f"{self.measure} %" if column == SCORED else column for column in COLUMNS)
        return (*named, COUNTED) if self.has_counts else named

    @property
    def measure(self) -> str:
        """What the scores are: top-1, mAP or mIoU."""
        names = {row.score.name for row in self.rows if row.score}
        return names.pop() if len(names) == 1 else "top-1" if not names else "score"

    @property
    def has_counts(self) -> bool:
        """Whether any row is of an emulated device."""
        return any(row.measurement.emulated for row in self.rows)

    @property
    def warnings(self) -> tuple[str, ...]:
        return (*self.findings, *self.noise)

    def cells(self) -> list[tuple[str, ...]]:
        return [row.cells()[: len(self.columns)] for row in self.rows]


def comparison_table(measurements: Sequence[Measurement], result: RunResult | None = None) -> Table:
    """The newest measurement of every artifact on every runtime, beside what `result` knows of its network."""
    newest = latest(measurements)
    names = _network_names(newest, result)
    rows = tuple(
        _row(measurement, newest, result, name) for measurement, name in zip(newest, names, strict=True)
    )
    findings = {_label(row): _findings(row, newest, result) for row in rows}
    noise = {_label(row): row.measurement.warnings for row in rows}
    return Table(rows, _sentences(findings), _sentences(noise))


def latest(measurements: Iterable[Measurement]) -> list[Measurement]:
    """Of several measurements of one file under the same conditions the last, in order of first appearance."""
    newest = {(measurement.path, measurement.conditions): measurement for measurement in measurements}
    return list(newest.values())


def network_name(measurement: Measurement, result: RunResult | None) -> str:
    """`original`, `compressed` (every stage of the run), or the stages that made it."""
    stages = measurement.stages
    if not stages:
        return "original"
    return "compressed" if result and stages == _stage_names(result) else " + ".join(stages)


def _network_names(measurements: Sequence[Measurement], result: RunResult | None) -> list[str]:
    """Each network's name; that of its file where one name stands for several files under the same conditions, as it does
    for networks of which nothing is known but their files."""
    names = [network_name(measurement, result) for measurement in measurements]
    count = Counter(zip(names, (measurement.conditions for measurement in measurements), strict=True))
    several = {name for (name, _), rows in count.items() if rows > 1}
    files = file_names(measurements)
    return [file if name in several else name for name, file in zip(names, files, strict=True)]


def file_names(measurements: Sequence[Measurement]) -> list[str]:
    """The names of the files measured, with their folders where two differ in those alone."""
    paths = {
        measurement.name: {other.path for other in measurements if other.name == measurement.name}
        for measurement in measurements
    }
    return [
        str(Path(measurement.path).parent.name / Path(measurement.name))
        if len(paths[measurement.name]) > 1
        else measurement.name
        for measurement in measurements
    ]


def facts_of(measurement: Measurement, result: RunResult) -> NetworkFacts | StageResult | None:
    """What the run recorded of the network in this file; None when the run did not make it."""
    stages = measurement.stages
    if not stages:
        return result.original
    if stages == _stage_names(result):
        return result.compressed
    done = len(stages)
    return result.stages[done - 1] if stages == _stage_names(result)[:done] else None


def original_of(measurement: Measurement, measurements: Sequence[Measurement]) -> Measurement | None:
    """The original under the same conditions, rather one that was interleaved with it, rather of the same format."""
    candidates = [
        other for other in measurements if other.is_original and other.conditions == measurement.conditions
    ]
    return max(
        candidates,
        key=lambda other: (
            other is measurement,
            other.comparison == measurement.comparison,
            other.format == measurement.format,
        ),
        default=None,
    )


def _row(
    measurement: Measurement, all_measured: Sequence[Measurement], result: RunResult | None, name: str
) -> Row:
    facts = facts_of(measurement, result) if result else None
    original = original_of(measurement, all_measured)
    comparable = original is not None and are_comparable(original, measurement)
    return Row(
        network=name,
        runtime=measurement.runner,
        threads=measurement.threads,
        precision=measurement.precision,
        score=_score(measurement, facts),
        size_bytes=measurement.size_bytes,
        parameters=facts.parameters if facts else None,
        macs=facts.macs if facts else None,
        median_ms=measurement.median_ms,
        p90_ms=measurement.p90_ms,
        ratio=ratio(original, measurement) if original and comparable else None,
        measurement=measurement,
    )


def _score(measurement: Measurement, facts: NetworkFacts | StageResult | None) -> Score | None:
    """What the file itself scored. A `.pt2` is the network that the run evaluated, so its score is the file's."""
    if measurement.accuracy is not None:
        return measurement.accuracy
    if measurement.format != PROGRAM_FORMAT or facts is None:
        return None
    return facts.accuracy if isinstance(facts, NetworkFacts) else facts.accuracy.after


def _findings(row: Row, all_measured: Sequence[Measurement], result: RunResult | None) -> list[str]:
    original = original_of(row.measurement, all_measured)
    if row.ratio is None or original is None or original is row.measurement:
        return []
    if is_emulated(row.runtime, row.precision):
        return [EMULATED]
    found = of_disturbed_ratio(row.ratio, original, row.measurement)
    found += integer_warning(original.precision, row.precision, row.ratio)
    if result is not None and row.macs is not None:
        found += cost_warning(result.original.macs, row.macs, row.ratio)
    return found


def _sentences(found: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Each sentence once, with the rows that it is about."""
    labels: dict[str, list[str]] = {}
    for label, sentences in found.items():
        for sentence in sentences:
            labels.setdefault(sentence, []).append(label)
    return tuple(f"{sentence.removesuffix('.')}: {'; '.join(rows)}." for sentence, rows in labels.items())


def _stage_names(result: RunResult) -> tuple[str, ...]:
    return tuple(stage.name for stage in result.stages)


def _label(row: Row) -> str:
    threads = f", {row.threads} threads" if row.threads != 1 else ""
    return f"{row.network} on {row.runtime}{threads}"
