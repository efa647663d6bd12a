"""Our TFLite writer beside litert-torch: seconds, bytes, operators, parity, and latency in one interleaved run.

python benchmarks/suites/tflite_writers.py --reference PYTHON

PYTHON is an interpreter that has litert-torch, which does not share an environment with much else:

    python3 -m venv litert && litert/bin/pip install torch==2.13.0 litert-torch
"""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import torch
from _suite import check  # type: ignore[import-not-found]  # beside this script, not in the package
from ai_edge_litert import schema_py_generated as schema

from edgepress import convert, models, runtime
from edgepress.artifact import Artifact
from edgepress.benchmarks import Protocol, compare, ratio
from edgepress.cli._console import print_table, remark
from edgepress.program import Program

NETWORKS = ("mobilenet_v2", "shufflenet_v2")
MOST_SECONDS = 2.0

REFERENCE = """
import sys, time
import torch, litert_torch
module = torch.export.load(sys.argv[1]).module()
images = torch.zeros(1, 224, 224, 3)
module = litert_torch.to_channel_last_io(module, args=[0])
started = time.perf_counter()
litert_torch.convert(module, (images,)).export(sys.argv[2])
print(time.perf_counter() - started)
"""
"""Run by the other interpreter: it loads our .pt2 with plain PyTorch."""


@dataclasses.dataclass(frozen=True)
class Written:
    """One file and the seconds its writer took."""

    artifact: Artifact
    seconds: float


def main() -> bool:
    if "--reference" not in sys.argv[1:-1]:
        remark("nothing to compare with: --reference PYTHON names an interpreter that has litert-torch")
        return True
    python = sys.argv[sys.argv.index("--reference") + 1]
    torch.manual_seed(0)
    claims = []
    with tempfile.TemporaryDirectory() as folder:
        for name in NETWORKS:
            program = models.load(name)
            ours = _ours(program, Path(folder) / f"{name}.tflite")
            theirs = _theirs(program, Path(folder) / f"{name}-reference.tflite", ours.artifact, python)
            _show(name, program, ours, theirs)
            claims.append(check(f"{name}: seconds to write", ours.seconds, MOST_SECONDS))
    return all(claims)


def _ours(program: Program, path: Path) -> Written:
    started = time.perf_counter()
    artifact = convert.to(program, "tflite", path)
    return Written(artifact, time.perf_counter() - started)


def _theirs(program: Program, path: Path, ours: Artifact, python: str) -> Written:
    saved = program.save(path.with_suffix(".pt2"))
    finished = subprocess.run(
        [python, "-W", "ignore", "-c", REFERENCE, saved.path, path],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return Written(Artifact.describe(path, ours.manifest), float(finished.stdout.split()[-1]))


def _show(name: str, program: Program, *files: Written) -> None:
    """One row a file; the latency ratio is to our own."""
    measured = compare([runtime.open(file.artifact) for file in files], Protocol(max_seconds=10))
    rows = []
    for file, measurement in zip(files, measured, strict=True):
        operators = _operators(file.artifact.path)
        with runtime.open(file.artifact) as runner:
            parity = runtime.compare(program.run, runner.run, [program.signature.example(8)])
        latency = ratio(measured[0], measurement)
        rows.append([
            file.artifact.path.name, f"{file.seconds:.2f}", f"{file.artifact.manifest.size_bytes:,}",
            str(operators.total()), str(operators["TRANSPOSE"]), f"{parity.relative_error:.1e}",
            f"{measurement.median_ms:.3f}", f"{latency.value:.3f} ({latency.low:.3f} to {latency.high:.3f})",
        ])  # fmt: skip
    columns = ["file", "seconds", "bytes", "operators", "TRANSPOSE", "relative error", "median ms", "× ours"]
    print_table(columns, rows, title=name)


def _operators(path: Path) -> Counter[str]:
    """How often each operator stands in the file."""
    model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    names = {value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}
    codes = [max(code.builtinCode, code.deprecatedBuiltinCode) for code in model.operatorCodes]
    return Counter(names[codes[operator.opcodeIndex]] for operator in model.subgraphs[0].operators)


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
