"""The whole road in one folder: compress, convert the original and the result, verify, time, report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import click

from edgepress import plugins, runtime
from edgepress.artifact import Artifact
from edgepress.benchmarks import MEASUREMENTS_FILE, Measurement, Protocol, append, comparison_table
from edgepress.benchmarks.report import EXTRA as REPORT_EXTRA
from edgepress.benchmarks.report import PACKAGES as REPORT_PACKAGES
from edgepress.benchmarks.report import write
from edgepress.cli._compression import MODEL, ORIGINAL, Compression
from edgepress.cli._console import print_table, remark
from edgepress.cli._conversion import convert_all
from edgepress.cli._installed import require
from edgepress.cli._measuring import measure
from edgepress.program import Program
from edgepress.progress import Progress
from edgepress.result import RunResult


@dataclass(frozen=True)
class Finished:
    """What came out: the run, the files (each verified) and their measurements, in the same order."""

    result: RunResult
    artifacts: tuple[Artifact, ...]
    measurements: tuple[Measurement, ...]

    def of(self, file: str) -> Measurement:
        (found,) = (measurement for measurement in self.measurements if measurement.name == file)
        return found


@dataclass(frozen=True, kw_only=True)
class Road:
    """A compression run, and the formats to compare its original and its result in."""

    compression: Compression
    formats: tuple[str, ...]
    protocol: Protocol = Protocol()

    def travel(
        self, program: Program, progress: Progress, announce: Callable[[str], None] = remark
    ) -> Finished:
        """Leave the .pt2 files, the converted ones, result.json and measurements.jsonl in the run's folder."""
        folder, data = self.compression.folder, self.compression.data
        result = self.compression.start(program, progress, announce)
        artifacts: list[Artifact] = []
        for path in (folder / ORIGINAL, folder / MODEL):
            artifacts.append(Artifact.open(path))
            targets = {format: path.with_suffix(f".{format}") for format in self.formats}
            artifacts += convert_all(Program.load(path), targets, data=data, progress=progress)
        runners = [runtime.open(artifact) for artifact in artifacts]
        measured = measure(runners, self.protocol, data, self.compression.evaluate_limit, progress)
        (folder / MEASUREMENTS_FILE).unlink(missing_ok=True)
        append(folder / MEASUREMENTS_FILE, measured)
        return Finished(result, tuple(artifacts), tuple(measured))


def check_installed(formats: Sequence[str]) -> None:
    """Raise BackendMissing for any package that the road will need: before the work, not after it."""
    require(formats)
    plugins.require(*REPORT_PACKAGES, extra=REPORT_EXTRA)


def show(finished: Finished, road: Road) -> None:
    """Write report.html and print the comparison; what to bear in mind goes to stderr."""
    page = write(road.compression.folder)
    table = comparison_table(finished.measurements, finished.result)
    print_table(table.columns, table.cells())
    for warning in table.warnings:
        remark(warning)
    click.echo(f"report: {page}")
