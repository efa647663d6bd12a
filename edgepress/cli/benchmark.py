"""Time files on their runtimes, interleaved in one process, and compare them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgepress.cli._console import json_option, print_table, progress_bar, remark
from edgepress.cli._inputs import FOLDER, DataInput, data_options

if TYPE_CHECKING:
    from edgepress.benchmarks import Measurement
    from edgepress.runtime import Runner

UNITS_S = {"s": 1, "m": 60, "h": 3600}

MOST_THREADS = 1024
"""Beyond it runtimes start thread after thread until the memory is gone."""


@click.command()
@click.argument("artifacts", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--on",
    "targets",
    default="cpu",
    show_default=True,
    metavar="TARGET,...",
    help="cpu, ssh://USER@HOST, adb:SERIAL, qemu:PROFILE, a name of edgepress devices; #RUNNER behind it.",
)
@click.option("--threads", default="1", show_default=True, metavar="N,...", help="Thread counts to sweep.")
@click.option(
    "--protocol", default="", metavar="KEY=VALUE,...", help="batch=8,min_runs=200,max_seconds=5,..."
)
@click.option("--per-layer", is_flag=True, help="Also the time of each operator, where the runtime tells.")
@click.option(
    "--sustain", metavar="TIME", help="Then run each on and on, as 10m or 90s: does it keep its speed?"
)
@click.option("--cool-down", metavar="TIME", help="Rest before every turn, as 30s.")
@data_options
@click.option("--evaluate", "limit", type=click.IntRange(1), help="Samples for the accuracy.  [default: all]")
@click.option("-o", "--out", type=FOLDER, help="Append to measurements.jsonl in this folder.")
@click.option("--resume", is_flag=True, help="Leave out devices of which the folder has all measurements.")
@json_option
def command(
    artifacts: tuple[Path, ...],
    targets: str,
    threads: str,
    protocol: str,
    per_layer: bool,
    sustain: str | None,
    cool_down: str | None,
    data: DataInput,
    limit: int | None,
    out: Path | None,
    resume: bool,
    as_json: bool,
) -> None:
    """Time each ARTIFACT (a .pt2 or a converted file) on every target and thread count.

    All on one device take turns, so that a slow spell of the machine hits all alike; ratios are to the device's first.
    The devices follow one another; where one fails, what was measured before is kept, and --resume goes on.
    With --data the accuracy is measured on the runtime too. --json prints one line a measurement.
    """
    from edgepress import benchmarks
    from edgepress.cli._measuring import Measuring
    from edgepress.files import check_writable
    from edgepress.options import build, parse

    given = parse(protocol, where="--protocol")
    if per_layer:
        given.setdefault("profile_runs", 20)
    for option, name, text in (
        ("--sustain", "sustain_seconds", sustain),
        ("--cool-down", "cool_down_seconds", cool_down),
    ):
        if text is not None:
            given[name] = _seconds(text, option)
    runners = _runners(artifacts, targets, threads)
    folder = out or artifacts[0].parent
    check_writable(folder)
    measuring = Measuring(
        protocol=build(benchmarks.Protocol, given, where="--protocol"),
        folder=folder,
        data=data.open(),
        limit=limit,
        resume=resume,
    )
    with progress_bar() as progress:
        measured = measuring.run(runners, progress)
    _show(measured, as_json, per_layer)


def _seconds(text: str, option: str) -> float:
    """`90s`, `10m` or `2h` in seconds."""
    from edgepress.errors import BadOption

    number, unit = text[:-1], text[-1:]
    if unit not in UNITS_S or not number.replace(".", "", 1).isdigit():
        raise BadOption(f"{text!r} is not a duration.", where=option, hint=f"{option} 90s, 10m or 1h")
    return float(number) * UNITS_S[unit]


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
            f"{threads!r} is not a list of thread counts.",
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
    if as_json:
        from edgepress.records import encode

        for measurement in measured:
            click.echo(encode(measurement, indent=None))
        return
    from edgepress.benchmarks import file_names, of_integers

    names = file_names(measured)
    measured = [replace(measurement, name=name) for measurement, name in zip(measured, names, strict=True)]
    timed = any(not measurement.emulated for measurement in measured)
    counted = any(measurement.emulated for measurement in measured)
    columns = [
        *("file", "device", "runner", "threads", "bytes"),
        *(("median, ms", "p90, ms", "p99, ms") if timed else ()),
        *(("instructions (emulated)", "spread, %") if counted else ()),
        *("ratio", "95 %" if timed else "extremes", "top-1, %"),
    ]
    print_table(columns, [_row(measurement, measured, timed, counted) for measurement in measured])
    for measurement in measured:
        for warning in (*measurement.warnings, *of_integers(measurement, measured)):
            remark(f"{measurement.name} on {measurement.device}, {measurement.runner}: {warning}")
        if measurement.sustained:
            _show_sustained(measurement)
        if per_layer:
            _show_layers(measurement)


def _show_layers(measurement: Measurement) -> None:
    """The layers that each operator computes are the network's own, as far as the runtime lets them be told."""
    where = f"{measurement.name} on {measurement.runner}"
    if not measurement.layers:
        why = "an emulated device has" if measurement.emulated else "this runtime tells"
        remark(f"{where}: {why} no times of single operators.")
        return
    rows = [
        [" + ".join(layer.layers), layer.name, layer.type, f"{layer.latency_ms:.4f}"]
        for layer in measurement.layers
    ]
    print_table(["layers", "operator", "type", "ms"], rows, title=where)


def _show_sustained(measurement: Measurement) -> None:
    told = [
        [f"{window.start_s:.1f}", str(window.runs), f"{window.median_ms:.3f}", *map(_told, (window.clock_mhz, window.temperature_c, window.throttled))]
        for window in measurement.sustained
    ]  # fmt: skip
    title = f"{measurement.name} on {measurement.runner}, on and on: the last window took {measurement.slowdown:.3f} times the first's"
    print_table(
        ["from, s", "runs", "median, ms", "clock, MHz", "hottest, °C", "throttled"], told, title=title
    )


def _told(value: float | bool | None) -> str:
    """A dash for what the device does not tell."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "-" if value is None else f"{value:.0f}"


def _row(measurement: Measurement, measured: list[Measurement], timed: bool, counted: bool) -> list[str]:
    """The cells of one; its ratio is to the first on its device. A dash: this target does not tell."""
    from edgepress.benchmarks import are_comparable, ratio

    first = next(other for other in measured if other.device == measurement.device)
    against = ratio(first, measurement) if are_comparable(first, measurement) else None
    return [
        measurement.name,
        measurement.device,
        measurement.runner,
        str(measurement.threads),
        f"{measurement.size_bytes:,}",
        *(_times(measurement) if timed else ()),
        *(_counts(measurement) if counted else ()),
        f"{against.value:.3f}" if against else "-",
        f"{against.low:.3f} to {against.high:.3f}" if against else "-",
        f"{measurement.accuracy.percent:.2f}" if measurement.accuracy else "",
    ]


def _times(measurement: Measurement) -> list[str]:
    times = (measurement.median_ms, measurement.p90_ms, measurement.p99_ms)
    return ["-" if time_ms is None else f"{time_ms:.3f}" for time_ms in times]


def _counts(measurement: Measurement) -> list[str]:
    count, spread = measurement.median_instructions, measurement.instruction_spread
    return ["-", "-"] if count is None or spread is None else [f"{count:,.0f}", f"{100 * spread:.3f}"]
