"""Time files on their runtimes, interleaved in one process, and compare them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgepress.cli._console import json_option, print_table, progress_bar, remark
from edgepress.cli._inputs import DataInput, data_options

if TYPE_CHECKING:
    from edgepress.benchmarks import Measurement, Protocol
    from edgepress.data import Data
    from edgepress.progress import Progress
    from edgepress.runtime import Runner

MOST_THREADS = 1024
"""Beyond it runtimes start thread after thread until the memory is gone."""


@click.command()
@click.argument("artifacts", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--on", "targets", default="cpu", show_default=True, metavar="TARGET,...", help="cpu, cpu:RUNNER"
)
@click.option("--threads", default="1", show_default=True, metavar="N,...", help="Thread counts to sweep.")
@click.option(
    "--protocol", default="", metavar="KEY=VALUE,...", help="batch=8,min_runs=200,max_seconds=5,..."
)
@click.option("--per-layer", is_flag=True, help="Also the time of each operator, where the runtime tells.")
@data_options
@click.option("--evaluate", "limit", type=click.IntRange(1), help="Samples for the accuracy.  [default: all]")
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), help="Append to measurements.jsonl in this folder."
)
@json_option
def command(
    artifacts: tuple[Path, ...],
    targets: str,
    threads: str,
    protocol: str,
    per_layer: bool,
    data: DataInput,
    limit: int | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Time each ARTIFACT (a .pt2 or a converted file) on every target and thread count.

    All of them take turns, so that a slow spell of the machine hits all alike; ratios are to the first.
    With --data the accuracy is measured on the runtime too. --json prints one line a measurement.
    """
    from edgepress import benchmarks
    from edgepress.files import check_writable
    from edgepress.options import build, parse

    given = parse(protocol, where="--protocol")
    if per_layer:
        given.setdefault("profile_runs", 20)
    runners = _runners(artifacts, targets, threads)
    folder = out or artifacts[0].parent
    check_writable(folder)
    with progress_bar() as progress:
        measured = measure(
            runners, build(benchmarks.Protocol, given, where="--protocol"), data.open(), limit, progress
        )
    benchmarks.append(folder / benchmarks.MEASUREMENTS_FILE, measured)
    _show(measured, as_json, per_layer)


def measure(
    runners: list[Runner], protocol: Protocol, data: Data | None, limit: int | None, progress: Progress
) -> list[Measurement]:
    """Time the runners in turns; with labelled data, measure each one's accuracy too."""
    from edgepress import benchmarks
    from edgepress.accuracy import can_evaluate, evaluate

    measured = benchmarks.compare(runners, protocol, progress=progress)
    with_accuracy = []
    for runner, measurement in zip(runners, measured, strict=True):
        preprocess = runner.artifact.manifest.preprocess
        if data is None or not can_evaluate(data, preprocess):
            return measured
        with runner:
            accuracy = evaluate(runner.run, data, preprocess, limit=limit, progress=progress)
        with_accuracy.append(dataclasses.replace(measurement, accuracy=accuracy))
    return with_accuracy


def _runners(artifacts: tuple[Path, ...], targets: str, threads: str) -> list[Runner]:
    from edgepress import runtime
    from edgepress.artifact import Artifact
    from edgepress.errors import BadOption

    try:
        counts = [int(count) for count in threads.split(",")]
    except ValueError:
        counts = []
    if not counts or min(counts) < 1 or max(counts) > MOST_THREADS:
        raise BadOption(
            f"{threads!r} are no thread counts.",
            where="--threads",
            hint=f"--threads 1,2; at most {MOST_THREADS}",
        )
    return [
        runtime.open(artifact, target.strip(), count)
        for artifact in map(Artifact.open, artifacts)
        for target in targets.split(",")
        for count in counts
    ]


def _show(measured: list[Measurement], as_json: bool, per_layer: bool) -> None:
    from edgepress.benchmarks import ratio

    if as_json:
        from pydantic import TypeAdapter

        for measurement in measured:
            click.echo(TypeAdapter(type(measurement)).dump_json(measurement).decode())
        return
    columns = [
        "file",
        "runner",
        "threads",
        "bytes",
        "median, ms",
        "p90, ms",
        "p99, ms",
        "ratio",
        "95 %",
        "top-1, %",
    ]
    print_table(columns, [_row(measurement, ratio(measured[0], measurement)) for measurement in measured])
    for measurement in measured:
        for warning in measurement.warnings:
            remark(f"{measurement.name} on {measurement.runner}: {warning}")
        if per_layer:
            rows = [[layer.name, layer.type, f"{layer.latency_ms:.4f}"] for layer in measurement.layers]
            print_table(["operator", "type", "ms"], rows, title=f"{measurement.name} on {measurement.runner}")


def _row(measurement: Measurement, against: Any) -> list[str]:
    accuracy = measurement.accuracy
    return [
        measurement.name,
        measurement.runner,
        str(measurement.threads),
        f"{measurement.size_bytes:,}",
        f"{measurement.median_ms:.3f}",
        f"{measurement.p90_ms:.3f}",
        f"{measurement.p99_ms:.3f}",
        f"{against.value:.3f}",
        f"{against.low:.3f} to {against.high:.3f}",
        f"{accuracy.top1:.2f}" if accuracy else "",
    ]
