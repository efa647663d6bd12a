"""Pruning to a share of the measured latency: predicted, measured in the search, and measured again on its own.

python benchmarks/suites/latency_budget.py --share 0.6
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from _suite import check  # type: ignore[import-not-found]  # beside this script, not in the package

from edgepress import benchmarks, compress, convert, models, runtime
from edgepress.benchmarks import Protocol, Ratio
from edgepress.cache import CACHE_VARIABLE
from edgepress.cli._console import print_table, progress_bar
from edgepress.compress.prune_channels import LatencyBudget, PruneChannels
from edgepress.history import Value
from edgepress.latency import TargetStopwatch
from edgepress.program import Program
from edgepress.progress import Progress, silent
from edgepress.recipe import Recipe
from edgepress.stopwatch import LayerShape

NETWORKS = {"resnet20": (3, 32, 32), "mobilenet_v2": (3, 96, 96)}
"""Names of the zoo and input sizes; random weights, which take as long as any."""
FORMATS = {"cpu:onnxruntime": "onnx", "cpu:litert": "tflite"}
TOLERANCE = 0.05
PROTOCOL = Protocol(rounds=50, min_runs=300, min_seconds=2.0, max_seconds=15.0)
"""For the second opinion: longer than the search's own."""
COLUMNS = [
    "network",
    "target",
    "table",
    "predicted",
    "measured",
    "again",
    "95 %",
    "rounds",
    "table, s",
    "2nd, s",
]


class Clocked(TargetStopwatch):
    """Keeps what it was asked, and how long the answer took."""

    layers: tuple[LayerShape, ...] = ()
    table_seconds = 0.0

    def layer_costs(
        self, layers: Sequence[LayerShape], target: str, progress: Progress = silent
    ) -> tuple[float, ...]:
        started = time.perf_counter()
        found = super().layer_costs(layers, target, progress)
        self.layers, self.table_seconds = tuple(layers), time.perf_counter() - started
        return found


def main() -> bool:
    given = _arguments()
    claims, rows = [], []
    with tempfile.TemporaryDirectory() as folder, progress_bar() as progress:
        os.environ[CACHE_VARIABLE] = given.cache or folder
        for name in given.networks.split(","):
            program = models.load(name, input_shape=NETWORKS[name])
            for target in given.targets.split(","):
                stopwatch = Clocked()
                stage = PruneChannels(latency=LatencyBudget(given.share, target))
                pruned = compress.apply(program, Recipe((stage,)), progress=progress, stopwatch=stopwatch)
                first_seconds = stopwatch.table_seconds
                stopwatch.layer_costs(stopwatch.layers, target)
                again = _ratio(program, pruned, target, Path(folder))
                report = pruned.history.steps[-1].results["latency"]
                rows.append(_row(name, target, report, again, (first_seconds, stopwatch.table_seconds)))
                claim = f"{name} on {target}: latency measured again, over its budget"
                error = abs(again.value / given.share - 1)
                claims.append(check(f"{claim} of {given.share:g}, is off by", error, TOLERANCE))
    print_table(COLUMNS, rows)
    return all(claims)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--share", type=float, default=0.6, help="the budget [default: 0.6]")
    parser.add_argument("--networks", default=",".join(NETWORKS), help="some of them")
    parser.add_argument("--targets", default=",".join(FORMATS), help="some of them")
    parser.add_argument(
        "--cache", help="a folder with tables of layers [default: none yet, to time making them]"
    )
    return parser.parse_args()


def _ratio(original: Program, pruned: Program, target: str, folder: Path) -> Ratio:
    """New files of both networks, in turns, with nothing left of the search."""
    format = FORMATS[target]
    runners = [
        runtime.open(convert.to(program, format, folder / f"{name}.{format}"), target)
        for name, program in (("original", original), ("pruned", pruned))
    ]
    return benchmarks.ratio(*benchmarks.compare(runners, PROTOCOL))


def _row(
    name: str, target: str, report: Value, again: Ratio, table_seconds: tuple[float, float]
) -> list[str]:
    assert isinstance(report, dict)
    rounds = report["rounds"]
    assert isinstance(rounds, list)
    return [
        name,
        target,
        *(f"{report[key]:.3f}" for key in ("table", "predicted", "measured")),
        f"{again.value:.3f}",
        f"{again.low:.3f} to {again.high:.3f}",
        str(len(rounds)),
        *(f"{seconds:.1f}" for seconds in table_seconds),
    ]


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
