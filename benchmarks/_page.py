"""What the report shows, gathered from a run folder: numbers and charts, no markup of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from edgepress.accuracy import Score
from edgepress.artifact import Artifact
from edgepress.benchmarks import _plots as plots
from edgepress.benchmarks._endurance import Endurance, endurance
from edgepress.benchmarks._environment import Environment
from edgepress.benchmarks._layer_rows import LayerRow, costliest, layer_rows, uncounted
from edgepress.benchmarks._measurement import Measurement
from edgepress.benchmarks._ratio import Ratio
from edgepress.benchmarks._run_folder import RunFolder, is_original
from edgepress.benchmarks._table import Row, Table, comparison_table, original_of
from edgepress.result import NetworkFacts, RunResult

CHARTED_LAYERS = 40
SLOWEST_LAYERS = 12

Kind = Literal["percent", "milliseconds", "size", "count"]


@dataclass(frozen=True, kw_only=True)
class Tile:
    """One of the large figures on top: before, after, and their ratio (for percent, their difference)."""

    title: str
    kind: Kind
    before: float
    after: float
    note: str
    interval: Ratio | None = None

    @property
    def change(self) -> float:
        return self.after - self.before if self.kind == "percent" else self.after / self.before


@dataclass(frozen=True, kw_only=True)
class Profile:
    """The slowest operators of one artifact: the layers that each computes (or its own name), its type, milliseconds, and
    its share of all operators' time."""

    title: str
    operators: tuple[tuple[str, str, float, float], ...]
    total_ms: float


@dataclass(frozen=True, kw_only=True)
class Page:
    title: str
    measure: str
    result: RunResult | None
    tiles: tuple[Tile, ...]
    warnings: tuple[str, ...]
    table: Table
    charts: Mapping[str, str]
    artifacts: tuple[Artifact, ...]
    layers: tuple[LayerRow, ...]
    hidden_layers: int
    uncounted: tuple[str, ...]
    profiles: tuple[Profile, ...]
    endurances: tuple[Endurance, ...]
    environments: tuple[Environment, ...]
    recipe: str


def page(run: RunFolder) -> Page:
    table = comparison_table(run.measurements, run.result)
    costly = [layer for layer in (layer_rows(run.result) if run.result else ()) if layer.most_macs]
    charted = costliest(costly, CHARTED_LAYERS)
    by_latency = sorted(table.rows, key=lambda row: row.median_ms or float("inf"))
    return Page(
        title=run.result.model if run.result and run.result.model else run.folder.resolve().name,
        measure=table.measure,
        result=run.result,
        tiles=tuple(_tiles(run, table)),
        warnings=(
            *run.problems,
            *_unverified(run.artifacts),
            *_accuracy_unknown(run),
            *table.findings,
            *_disturbed(table),
        ),
        table=table,
        charts=_charts(run, table, charted),
        artifacts=run.artifacts,
        layers=tuple(costly),
        hidden_layers=len(costly) - len(charted),
        uncounted=uncounted(run.result) if run.result else (),
        profiles=tuple(_profile(row) for row in by_latency if row.measurement.layers),
        endurances=tuple(
            endurance(f"{row.network} on {_runtime(row)}", row.measurement)
            for row in by_latency
            if row.measurement.sustained
        ),
        environments=_environments(run.measurements),
        recipe=run.recipe,
    )


def _tiles(run: RunFolder, table: Table) -> list[Tile]:
    tiles = []
    fastest = _fastest_compressed(table)
    if run.result and (scores := _scores(run.result.original, run.result.compressed)):
        before, after = scores
        note = f"{after.name} of {after.samples:,} samples"
        tiles.append(
            Tile(title="Accuracy", kind="percent", before=before.percent, after=after.percent, note=note)
        )
    if fastest and (original := original_of(fastest.measurement, _measured(table))):
        before_ms, after_ms = original.median_ms, fastest.median_ms
        if before_ms and after_ms:
            note = f"median on {fastest.runtime}, {_threads(fastest.threads)}"
            tiles.append(
                Tile(title="Latency", kind="milliseconds", before=before_ms, after=after_ms, note=note,
                     interval=fastest.ratio)
            )  # fmt: skip
        note = f"{original.name} to {fastest.measurement.name}"
        tiles.append(
            Tile(title="File", kind="size", before=original.size_bytes, after=fastest.size_bytes, note=note)
        )
    elif run.result:
        tiles.append(_cost_tile("Weights", "size", run.result, "weight_bytes", "as stored"))
    if run.result:
        tiles.append(_cost_tile("MACs", "count", run.result, "macs", "multiply-accumulates a sample"))
        tiles.append(_cost_tile("Parameters", "count", run.result, "parameters", "trained values"))
    return [tile for tile in tiles if tile.before]


def _cost_tile(title: str, kind: Kind, result: RunResult, field: str, note: str) -> Tile:
    before, after = getattr(result.original, field), getattr(result.compressed, field)
    return Tile(title=title, kind=kind, before=before, after=after, note=note)


def _fastest_compressed(table: Table) -> Row | None:
    rows = [row for row in table.rows if row.ratio and row.median_ms and not row.measurement.is_original]
    return min(rows, key=lambda row: row.median_ms or float("inf"), default=None)


def _scores(before: NetworkFacts, after: NetworkFacts) -> tuple[Score, Score] | None:
    return (before.accuracy, after.accuracy) if before.accuracy and after.accuracy else None


def _unverified(artifacts: Sequence[Artifact]) -> list[str]:
    """The failed and the skipped, in this order."""
    status = {artifact.path.name: artifact.manifest.verification for artifact in artifacts}
    failed = [name for name, checked in status.items() if checked and checked.status == "failed"]
    skipped = [name for name, checked in status.items() if checked and checked.status == "skipped"]
    found = [f"{name} failed its verification: do not ship it." for name in failed]
    return found + [f"{name} was not verified: no runtime was there to run it." for name in skipped]


def _disturbed(table: Table) -> list[str]:
    if not table.noise:
        return []
    disturbed = sum(bool(row.measurement.warnings) for row in table.rows)
    return [f"{disturbed} of {len(table.rows)} measurements were disturbed: see how it was measured, below."]


def _accuracy_unknown(run: RunFolder) -> list[str]:
    if run.result is None or run.result.compressed.accuracy is not None:
        return []
    return ["Accuracy was not measured: nothing here says that the compressed network still works."]


def _charts(run: RunFolder, table: Table, layers: Sequence[LayerRow]) -> dict[str, str]:
    """By name, those that there is data for."""
    charts = {}
    points = [
        plots.Point(row.network, _runtime(row), row.median_ms, row.percent)
        for row in table.rows
        if row.median_ms is not None and row.percent is not None
    ]
    samples = [
        plots.Samples(
            row.network, f"{_runtime(row)}\n{row.network}, {row.precision}", row.measurement.latency_ms
        )
        for row in sorted(table.rows, key=_runtime)
        if row.measurement.latency_ms
    ]
    if points:
        charts["pareto"] = plots.accuracy_against_latency(points, table.measure)
    if samples:
        charts["latency"] = plots.latency_distributions(samples)
    if lines := [_line(row) for row in table.rows if row.measurement.sustained]:
        charts["sustained"] = plots.kept_speed(lines)
    if files := _file_sizes(run, table):
        charts["sizes"] = plots.file_sizes(files)
    if layers:
        macs = [plots.LayerPair(layer.name, layer.macs_before, layer.macs_after) for layer in layers]
        weights = [
            plots.LayerPair(layer.name, layer.parameters_before, layer.parameters_after) for layer in layers
        ]
        charts["macs"] = plots.layer_costs(macs, "macs", "multiply-accumulates")
        charts["parameters"] = plots.layer_costs(weights, "parameters", "parameters")
    if run.result and run.result.stages:
        charts["timeline"] = plots.timeline(
            [plots.Span(stage.name, stage.seconds) for stage in run.result.stages]
        )
    return charts


def _line(row: Row) -> plots.Line:
    windows = row.measurement.sustained
    return plots.Line(
        row.network,
        _runtime(row),
        tuple(window.start_s for window in windows),
        tuple(window.median_ms for window in windows),
        tuple(bool(window.throttled) for window in windows),
    )


def _file_sizes(run: RunFolder, table: Table) -> list[plots.Bar]:
    bars = [
        plots.Bar(
            "original" if is_original(artifact) else "compressed",
            artifact.path.name,
            artifact.manifest.size_bytes,
        )
        for artifact in run.artifacts
    ]
    return bars or [
        plots.Bar(row.network, row.measurement.name, row.size_bytes)
        for row in {row.measurement.sha256: row for row in table.rows}.values()
    ]


def _profile(row: Row) -> Profile:
    layers = row.measurement.layers
    total_ms = sum(layer.latency_ms for layer in layers)
    slowest = sorted(layers, key=lambda layer: layer.latency_ms, reverse=True)[:SLOWEST_LAYERS]
    return Profile(
        title=f"{row.network} on {_runtime(row)}",
        operators=tuple(
            (
                " + ".join(layer.layers) or layer.name,
                layer.type,
                layer.latency_ms,
                100 * layer.latency_ms / total_ms if total_ms else 0.0,
            )
            for layer in slowest
        ),
        total_ms=total_ms,
    )


def _environments(measurements: Sequence[Measurement]) -> tuple[Environment, ...]:
    """One for each machine and set of versions, as it was when measured last."""
    found = {}
    for measurement in measurements:
        environment = measurement.environment
        found[(environment.machine, environment.processor, str(dict(environment.packages)))] = environment
    return tuple(found.values())


def _measured(table: Table) -> list[Measurement]:
    return [row.measurement for row in table.rows]


def _runtime(row: Row) -> str:
    return row.runtime if row.threads == 1 else f"{row.runtime}, {_threads(row.threads)}"


def _threads(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"
