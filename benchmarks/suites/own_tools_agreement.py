"""Whether our times are those that the runtimes' own benchmark tools give, the same file turn about.

python benchmarks/suites/own_tools_agreement.py

LiteRT brings `litert-benchmark`, OpenVINO `benchmark_app`. ONNX Runtime's `onnxruntime_perf_test`, ncnn's `benchncnn`, MNN's and
ExecuTorch's are in none of their packages: for ONNX Runtime and LiteRT see also plain_loop_agreement.py. Each tool is a
process of its own, that other work may hit where it spares ours: so the least time of all turns is compared, to which
nothing is added, and the medians are shown beside it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from _suite import ROOT, check  # type: ignore[import-not-found]  # beside this script, not in the package

from edgepress import convert, models, runtime
from edgepress.artifact import Artifact
from edgepress.benchmarks import Protocol, measure
from edgepress.cli._console import print_table, progress_bar, remark
from edgepress.errors import BackendMissing
from edgepress.isolation import run
from edgepress.openvino_file import unpack
from edgepress.progress import track

RUNS = 100
LARGEST_DIFFERENCE_PERCENT = 3.0
PROTOCOL = Protocol(min_runs=RUNS, max_runs=RUNS, min_seconds=0, rounds=5)
HERE = Path(sys.executable).parent


@dataclass(frozen=True)
class Took:
    median_ms: float
    least_ms: float


def main() -> bool:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--network", default="mobilenet_v2", help="of the zoo, random weights [%(default)s]")
    parser.add_argument("--turns", type=int, default=12, help="of each tool, and of ours [%(default)s]")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "bench", help="folder for the results")
    given = parser.parse_args()
    torch.manual_seed(0)
    program = models.load(given.network)
    rows, claims = [], []
    for format, tool in (("tflite", _litert_benchmark), ("openvino", _benchmark_app)):
        folder = given.out / "own_tools_agreement"
        try:
            artifact = convert.to(program, format, folder / f"{given.network}.{format}")
        except BackendMissing as error:
            remark(f"{format}: not measured: {error.what}")
            continue
        ours, theirs = _in_turns(artifact, tool, given.turns)
        ratio = min(took.least_ms for took in ours) / min(took.least_ms for took in theirs)
        rows.append([format, *_cells(ours), *_cells(theirs), f"{ratio:.4f}"])
        claim = f"{format}: percent from the runtime's own tool"
        claims.append(check(claim, 100 * abs(ratio - 1), LARGEST_DIFFERENCE_PERCENT))
    columns = ["format", "ours, least ms", "median", "tool's, least ms", "median", "ratio of the least"]
    print_table(columns, rows)
    return all(claims)


def _in_turns(
    artifact: Artifact, tool: Callable[[Artifact, Path], Took], turns: int
) -> tuple[list[Took], list[Took]]:
    ours, theirs = [], []
    with progress_bar() as progress:
        for _ in track(range(turns), f"in turns on {artifact.format}", progress):
            measured = measure(runtime.open(artifact), PROTOCOL)
            ours.append(Took(measured.median_ms or 0.0, min(measured.latency_ms)))
            with tempfile.TemporaryDirectory(prefix="edgepress-") as folder:
                theirs.append(tool(artifact, Path(folder)))
    return ours, theirs


def _cells(took: Sequence[Took]) -> tuple[str, str]:
    return (
        f"{min(one.least_ms for one in took):.3f}",
        f"{statistics.median(one.median_ms for one in took):.3f}",
    )


def _litert_benchmark(artifact: Artifact, folder: Path) -> Took:
    result = folder / "result.json"
    tool = (sys.executable, "-m", "ai_edge_litert.tools.benchmark_litert_model")
    told = _told(
        [*tool, f"--model={artifact.path.absolute()}", f"--num_runs={RUNS}", f"--result_json={result}"],
        folder,
        result,
    )["latency"]
    return Took(float(told["median_ms"]), float(told["min_ms"]))


def _benchmark_app(artifact: Artifact, folder: Path) -> Took:
    graph, _ = unpack(artifact.path, folder)
    fixed = "-d CPU -api sync -hint none -nthreads 1 -nstreams 1 -infer_precision f32"
    report = f"-niter {RUNS} -json_stats -report_type no_counters -report_folder {folder}"
    command: list[str | Path] = [HERE / "benchmark_app", "-m", graph, *fixed.split(), *report.split()]
    told = _told(command, folder, folder / "benchmark_report.json")["execution_results"]
    return Took(float(told["latency (ms)"]), float(told["min latency"]))


def _told(command: Sequence[str | Path], folder: Path, result: Path) -> dict[str, dict[str, str]]:
    """What the tool wrote into its result file."""
    done = run(command, folder)
    if not done.succeeded:
        sys.exit(f"{command[0]}: {done.said}")
    told: dict[str, dict[str, str]] = json.loads(result.read_text(encoding="utf-8"))
    return told


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
