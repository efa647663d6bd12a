"""What the suites have in common that time several networks on whatever targets are given: files, turns, table, chart, JSON."""

from __future__ import annotations

import argparse
import dataclasses
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from _suite import ROOT  # type: ignore[import-not-found]  # beside this script, not in the package

from edgepress import convert, runtime
from edgepress.artifact import Artifact
from edgepress.benchmarks import Measurement, Protocol, append, compare
from edgepress.benchmarks._svg import COMPRESSED, INK, chart, standalone
from edgepress.cli._console import print_table, progress_bar, remark
from edgepress.errors import EdgepressError
from edgepress.files import write_text
from edgepress.history import Value
from edgepress.program import Program
from edgepress.runtime import Target

PREFERRED = ("onnx", "tflite", "pt2")
"""The format for a target that names no runner, and of a runner that loads several."""


@dataclass(frozen=True)
class Case:
    """One network of a suite. `facts` are the columns that it has in the table besides what is measured, `options` what
    the conversion is told."""

    name: str
    program: Program
    facts: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True)
class Found:
    """A case on a target: its measurement, or why there is none."""

    case: Case
    target: str
    threads: int
    measurement: Measurement | None
    problem: str = ""

    @property
    def cost(self) -> float | None:
        """Of one inference, median milliseconds, or millions of instructions where the target is emulated; None where it
        could not be measured."""
        if self.measurement is None:
            return None
        counted = self.measurement.median_instructions
        return self.measurement.median_ms if counted is None else counted / 1e6

    @property
    def least_ms(self) -> float | None:
        """The fastest inference of all: on a busy machine the one to compare, for nothing is added to it."""
        samples_ms = self.measurement.latency_ms if self.measurement else ()
        return min(samples_ms, default=None)

    @property
    def unit(self) -> str:
        return "M instructions" if self.measurement and self.measurement.emulated else "ms"


def parser(description: str, *, targets: str = "cpu:onnxruntime") -> argparse.ArgumentParser:
    """`--on`, `--threads`, `--protocol` and `--out`, the same for every such suite."""
    made = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--on", default=targets, help="targets, as cpu:onnxruntime,cpu:litert [%(default)s]")
    made.add_argument("--threads", default="1", help="thread counts, as 1,2 [%(default)s]")
    made.add_argument("--seconds", type=float, default=2.0, help="at most for each case [%(default)s]")
    made.add_argument("--out", type=Path, default=ROOT / "build" / "bench", help="folder for the results")
    return made


def measured(cases: Sequence[Case], given: argparse.Namespace, batch: int = 1) -> list[Found]:
    """Every case on every target and thread count; those of one target take turns."""
    return [
        found
        for target in given.on.split(",")
        for threads in map(int, given.threads.split(","))
        for found in _on_target(cases, target.strip(), threads, _protocol(given, batch))
    ]


def _protocol(given: argparse.Namespace, batch: int) -> Protocol:
    return Protocol(batch=batch, min_runs=25, min_seconds=min(1.0, given.seconds), max_seconds=given.seconds)


def _on_target(cases: Sequence[Case], target: str, threads: int, protocol: Protocol) -> list[Found]:
    problems: dict[int, str] = {}
    runners = {}
    with tempfile.TemporaryDirectory(prefix="edgepress-") as name, progress_bar() as progress:
        for number, case in enumerate(cases):
            try:
                artifact = _artifact(case, target, Path(name, str(number)), protocol.batch)
                runners[number] = runtime.open(artifact, target, threads)
            except EdgepressError as error:
                problems[number] = error.what
        try:
            took = compare(list(runners.values()), protocol, progress=progress) if runners else []
        except EdgepressError as error:
            took, problems = [], {number: error.what for number in range(len(cases))}
    measurements = dict(zip(runners, took, strict=False))
    return [
        Found(case, target, threads, measurements.get(number), problems.get(number, ""))
        for number, case in enumerate(cases)
    ]


def _artifact(case: Case, target: str, folder: Path, batch: int) -> Artifact:
    """The network in the format that the target's runner takes, with room for `batch` samples."""
    runner = Target.parse(target).runner
    formats = runtime.find(runner).formats if runner else PREFERRED
    format = min(formats, key=lambda each: PREFERRED.index(each) if each in PREFERRED else len(PREFERRED))
    folder.mkdir()
    if format == "pt2":
        return case.program.save(folder / "network.pt2")
    sized = {"batch": batch} if batch > 1 and "batch" in _options(format) else {}
    return convert.to(case.program, format, folder / "network", {**sized, **case.options})


def _options(format: str) -> set[str]:
    return {option.name for option in dataclasses.fields(convert.find(*convert.route(format)[-1]))}


def table(found: Sequence[Found], cells: Callable[[Found], Mapping[str, str]] = lambda one: {}) -> None:
    """Print what was found, a row each, with the case's facts and what `cells` adds."""
    rows = [
        {
            "network": one.case.name,
            "target": one.target,
            "threads": str(one.threads),
            **one.case.facts,
            "median": "" if one.cost is None else f"{one.cost:.3f} {one.unit}",
            "p90, ms": _milliseconds(one.measurement.p90_ms if one.measurement else None),
            "least, ms": _milliseconds(one.least_ms),
            **cells(one),
        }
        for one in found
    ]
    print_table(list(rows[0]), [list(row.values()) for row in rows])
    for one in found:
        if one.problem:
            remark(f"{one.case.name} on {one.target}: not measured: {one.problem}")
    warned = [one for one in found if one.measurement and one.measurement.warnings]
    if warned and warned[0].measurement:
        remark(
            f"{len(warned)} of {len(found)} measurements were disturbed; of the first: "
            + " ".join(warned[0].measurement.warnings)
        )


def _milliseconds(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def save(name: str, found: Sequence[Found], given: argparse.Namespace, **verdicts: Any) -> None:
    """NAME.json and NAME.svg in the folder, and every sample in its measurements.jsonl."""
    folder = given.out / name
    (folder / "measurements.jsonl").unlink(missing_ok=True)
    append(folder / "measurements.jsonl", [one.measurement for one in found if one.measurement])
    rows = [
        {
            "network": one.case.name,
            "target": one.target,
            "threads": one.threads,
            **one.case.facts,
            "median": one.cost,
            "least_ms": one.least_ms,
            "unit": one.unit,
            "problem": one.problem,
        }
        for one in found
    ]
    write_text(folder / f"{name}.json", json.dumps({"rows": rows, **verdicts}, indent=2) + "\n")
    write_text(folder / f"{name}.svg", _bars(name, [one for one in found if one.cost]))
    remark(f"results: {folder}")


def _bars(name: str, found: Sequence[Found]) -> str:
    with chart(0.8 + 0.3 * max(len(found), 1)) as (figure, axes):
        positions = np.arange(len(found))[::-1]
        axes.barh(positions, [one.cost or 0.0 for one in found], height=0.62, color=COMPRESSED)
        for position, one in zip(positions, found, strict=True):
            axes.annotate(
                f"{one.cost:.3g} {one.unit}", (one.cost or 0.0, float(position)), (4, 0), textcoords="offset points",
                va="center", color=INK, fontsize=8,
            )  # fmt: skip
        axes.set_yticks(positions, [_label(one, found) for one in found])
        axes.set_xlabel(f"median of one inference, {' or '.join(sorted({one.unit for one in found}))}")
        return standalone(figure, name, f"What an inference of each network of the suite {name} takes")


def _label(one: Found, found: Sequence[Found]) -> str:
    """The network, and of its target and threads what differs between the rows."""
    parts = [one.case.name]
    if len({each.target for each in found}) > 1:
        parts.append(one.target)
    if len({each.threads for each in found}) > 1:
        parts.append(f"{one.threads} threads" if one.threads > 1 else "1 thread")
    return ", ".join(parts)
