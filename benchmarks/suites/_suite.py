"""What the suites have in common: one compression run on a real network, converted, timed and reported in a folder."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import click

from edgepress import runtime
from edgepress.artifact import Artifact
from edgepress.benchmarks import (
    MEASUREMENTS_FILE,
    Measurement,
    Protocol,
    append,
    comparison_table,
    ratio,
    report,
)
from edgepress.cli._compression import MODEL, ORIGINAL, Compression
from edgepress.cli._console import print_table, progress_bar, remark
from edgepress.cli._conversion import convert_all
from edgepress.cli.benchmark import measure
from edgepress.data import Data
from edgepress.program import Program
from edgepress.recipe import Recipe
from edgepress.result import RunResult

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Finished:
    result: RunResult
    measurements: tuple[Measurement, ...]

    def of(self, file: str) -> Measurement:
        (found,) = (measurement for measurement in self.measurements if measurement.name == file)
        return found


@dataclass(frozen=True, kw_only=True)
class Suite:
    """One network from the reference data, one recipe, and the formats to compare the original with the result in."""

    name: str
    recipe: Recipe
    formats: tuple[str, ...]
    protocol: Protocol = Protocol()

    def run(self, program: Program, data: Data, arguments: argparse.Namespace) -> Finished:
        """Leaves the files, `result.json`, `measurements.jsonl` and `report.html` in the folder and prints the table."""
        folder = arguments.out / self.name
        compression = Compression(
            folder=folder, recipe=self.recipe, data=data, model=self.name, data_text=data.name,
            evaluate_limit=arguments.evaluate,
        )  # fmt: skip
        (folder / MEASUREMENTS_FILE).unlink(missing_ok=True)
        with progress_bar() as progress:
            result = compression.start(program, progress, remark)
            artifacts: list[Artifact] = []
            for name in (ORIGINAL, MODEL):
                targets = {format: (folder / name).with_suffix(f".{format}") for format in self.formats}
                artifacts += convert_all(Program.load(folder / name), targets, data=data, progress=progress)
            runners = [runtime.open(artifact) for artifact in artifacts]
            measured = measure(runners, self.protocol, data, arguments.evaluate, progress)
        append(folder / MEASUREMENTS_FILE, measured)
        table = comparison_table(measured, result)
        print_table(table.columns, table.cells(), title=self.name)
        for warning in table.warnings:
            remark(warning)
        remark(f"report: {report.write(folder)}")
        return Finished(result, tuple(measured))


def arguments(description: str) -> argparse.Namespace:
    """`--data`, `--out` and `--evaluate`, the same for every suite."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--data", type=Path, help="folder of the reference data [default: $EDGEPRESS_SHARED]")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "bench", help="folder for the results")
    parser.add_argument("--evaluate", type=int, help="samples for the accuracy [default: all]")
    given = parser.parse_args()
    if given.data:
        os.environ["EDGEPRESS_SHARED"] = str(given.data)
    return given


def reference_networks() -> ModuleType:
    """The trained networks and data sets that the tests use as well; says so and stops where they are absent."""
    sys.path.append(str(ROOT / "tests"))
    import pytest
    import shared_data  # type: ignore[import-not-found]  # tests/ is no package

    try:
        shared_data.folder()
    except pytest.skip.Exception as absent:
        remark(f"nothing to measure: {absent}")
        sys.exit(0)
    networks: ModuleType = shared_data
    return networks


def check(claim: str, value: float, limit: float, *, at_most: bool = True) -> bool:
    """Print one claim with its figure and whether it holds."""
    holds = value <= limit if at_most else value >= limit
    bound = f"{'at most' if at_most else 'at least'} {limit:g}"
    click.echo(f"{'holds' if holds else 'FAILS'}  {claim}: {value:.4g} ({bound})")
    return holds


def latency_ratio(finished: Finished, format: str) -> float:
    """Compressed over original, from interleaved rounds."""
    return ratio(finished.of(f"original.{format}"), finished.of(f"model.{format}")).value
