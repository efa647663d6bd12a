"""Post-training quantization beside the peers', on real weights: accuracy, SQNR, size, cost and latency, one protocol.

python benchmarks/suites/quantization.py --data FOLDER [--make-peers] [--hungry] [--few-bits]

Every quantizer gets the same calibration arrays and the same ONNX file or Program, and runs in a process of its own;
every result runs on ONNX Runtime, on the same evaluation arrays, timed in turns with the float file. NNCF and AIMET have
virtual environments of their own, which --make-peers makes with pip.
"""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import click
import numpy as np
from _suite import ROOT, arguments, check, reference_networks  # type: ignore[import-not-found]  # beside this script

from edgepress import convert, runtime
from edgepress.artifact import Artifact
from edgepress.benchmarks import Measurement, Protocol, compare, ratio
from edgepress.cli._console import print_table, remark
from edgepress.data import Data
from edgepress.program import Program

CALIBRATION = 200
PROTOCOL = Protocol(rounds=25, min_runs=50, max_seconds=15.0)
SWITCHES = {
    "make-peers": "make the virtual environments of NNCF and AIMET where they are missing",
    "few-bits": "only weights of 4 and 2 bits on ResNet-20, rounded layer by layer and block by block",
    "hungry": "also the peers' methods that hold all activations: 12 GB on SqueezeNet",
}
PEERS = {"nncf": ("nncf==3.4.0", "onnx", "onnxruntime"), "aimet": ("aimet-onnx==2.42.0", "torch==2.13.0")}
"""What pip installs into the environment of each. AIMET asks for any torch: with our own version, pip takes a build for
processors where it is offered one, and not the newest with CUDA."""

OWN = {
    "edgepress min-max": "quantize_static: {headroom: none, calibration: minmax, weight_calibration: minmax, rounding: nearest, bias_correction: analytic}",
    "edgepress": "quantize_static: {headroom: none}",
    "edgepress, equalized": "equalize: {strength: 0.9}\n- quantize_static: {headroom: none}",
    "edgepress w4a8": "quantize_static: {headroom: none, scheme: w4a8}",
    "edgepress w4a8, ends in 8 bits": "quantize_static: {headroom: none, scheme: w4a8, low_ends: false}",
}
"""A name and the stages: defaults, but for a strength that was chosen on held-back calibration pictures. Without headroom,
as the peers' files are: right where the processor has VNNI."""

FEW_BITS = {
    f"{scheme}, ends in 8 bits, {name}": f"quantize_static: {{headroom: none, scheme: {scheme}, low_ends: false, samples: 1000, rounding: {how}}}"
    for scheme in ("w4a8", "w2a8")
    for name, how in (("layer by layer", "gptq"), ("block by block", "block"))
}
FEW_BITS_CALIBRATION = 1000

THEIRS = {
    "ONNX Runtime min-max": "onnxruntime_minmax",
    "ONNX Runtime percentile": "onnxruntime_percentile",
    "ONNX Runtime entropy": "onnxruntime_entropy",
    "NNCF": "nncf_default",
    "NNCF, no overflow fix": "nncf_without_overflow_fix",
    "AIMET": "aimet_default",
}
HUNGRY = ("onnxruntime_percentile", "onnxruntime_entropy")

LARGEST_DROP_POINTS = 0.25
LARGEST_W4_DROP_POINTS = 1.5
FEWEST_DB_AHEAD = 2.0
LARGEST_LATENCY_RATIO = 0.45
FEWEST_DB_BY_BLOCKS = 1.0


@dataclass(frozen=True)
class Quantized:
    """One file, the CPU time of quantizing and the rise of memory it took."""

    name: str
    artifact: Artifact
    cpu_seconds: float
    peak_mb: float


@dataclass(frozen=True)
class Row:
    """What came of one file. `sqnr_db` of the logits, the mean over the samples; `agree` and `top1` in percent."""

    name: str
    top1: float
    agree: float
    sqnr_db: float
    megabytes: float
    cpu_seconds: float
    peak_mb: float
    latency_ratio: float


@dataclass(frozen=True)
class Bench:
    """One network and its arrays in a folder: what every quantizer starts from."""

    folder: Path
    program: Program
    data: Data
    evaluate: int | None
    calibration: int = CALIBRATION

    def prepare(self) -> Artifact:
        """Write the Program, its float ONNX file and the calibration arrays."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.program.save(self.folder / "original.pt2")
        batches = self.data.batches("calibrate", self.program.preprocess, limit=self.calibration)
        np.save(self.folder / "samples.npy", np.concatenate([batch.inputs[0] for batch in batches]))
        return convert.to(self.program, "onnx", self.folder / "original.onnx")

    def own(self, name: str, stages: str) -> Quantized:
        recipe, out = self.folder / f"{_file(name)}.yaml", self.folder / f"{_file(name)}.onnx"
        recipe.write_text(f"stages:\n- {stages}\n", encoding="utf-8")
        script = (sys.executable, "_own_quantizer.py", self.folder / "original.pt2", recipe)
        costs = self._ran(*script, self.folder / "samples.npy", out)
        return Quantized(name, Artifact.open(out), **costs)

    def theirs(self, name: str, method: str, python: Path, original: Artifact) -> Quantized:
        out = self.folder / f"{_file(name)}.onnx"
        costs = self._ran(
            python, "_peer_quantizers.py", method, original.path, self.folder / "samples.npy", out
        )
        manifest = dataclasses.replace(original.manifest, precision="int8", verification=None)
        return Quantized(name, Artifact.describe(out, manifest), **costs)

    def _ran(self, python: str | Path, script: str, *given: str | Path) -> dict[str, float]:
        """The last line that the script prints."""
        command = [str(python), str(Path(__file__).with_name(script)), *map(str, given)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}\n{done.stderr[-2000:]}")
        costs: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
        return costs

    def rows(self, original: Artifact, quantized: Sequence[Quantized]) -> list[Row]:
        float_logits, labels = self._logits(original)
        remark(f"float: top-1 {_top1(float_logits, labels):.2f} % of {len(labels)}")
        float_time, *times = compare(
            [runtime.open(one) for one in (original, *(q.artifact for q in quantized))], PROTOCOL
        )
        return [
            self._row(one, self._logits(one.artifact)[0], float_logits, labels, (float_time, time))
            for one, time in zip(quantized, times, strict=True)
        ]

    def _row(
        self, one: Quantized, logits: np.ndarray, expected: np.ndarray, labels: np.ndarray,
        times: tuple[Measurement, Measurement],
    ) -> Row:  # fmt: skip
        noise = np.maximum(np.square(logits - expected).sum(1), 1e-30)
        return Row(
            name=one.name,
            top1=_top1(logits, labels),
            agree=100 * float(np.mean(logits.argmax(1) == expected.argmax(1))),
            sqnr_db=10 * float(np.mean(np.log10(np.square(expected).sum(1) / noise))),
            megabytes=one.artifact.path.stat().st_size / 1e6,
            cpu_seconds=one.cpu_seconds,
            peak_mb=one.peak_mb,
            latency_ratio=ratio(*times).value,
        )

    def _logits(self, artifact: Artifact) -> tuple[np.ndarray, np.ndarray]:
        found: list[np.ndarray] = []
        labels: list[np.ndarray] = []
        with runtime.open(artifact) as runner:
            for batch in self.data.batches(
                "evaluate", self.program.preprocess, batch_size=16, limit=self.evaluate
            ):
                found.append(runner.run(*batch.inputs)[0].reshape(len(batch), -1))
                assert batch.labels is not None, "the reference data has labels"
                labels.append(batch.labels)
        return np.concatenate(found), np.concatenate(labels)


def main() -> bool:
    given = arguments(__doc__ or "", SWITCHES)
    networks = reference_networks()
    if given.few_bits:
        return _few_bits(networks, given.out, given.evaluate)
    peers = {name: _environment(name, make=given.make_peers) for name in PEERS}
    cases: dict[str, Callable[[], tuple[Program, Data]]] = {
        "squeezenet": lambda: (networks.squeezenet(), networks.imagenet_sample()),
        "resnet20": lambda: (networks.resnet20(), networks.cifar10()),
    }
    claims = []
    for name, load in cases.items():
        bench = Bench(given.out / "quantization" / name, *load(), given.evaluate)
        original = bench.prepare()
        quantized = [*_all_own(bench), *_all_theirs(bench, original, peers, hungry=given.hungry)]
        rows = bench.rows(original, quantized)
        click.echo(f"\n{name}")
        _show(rows)
        if name == "squeezenet":
            claims = list(_claims(rows, _top1(*bench._logits(original))))
    return all(claims)


def _few_bits(networks: ModuleType, out: Path, evaluate: int | None) -> bool:
    folder = out / "quantization" / "few_bits"
    bench = Bench(folder, networks.resnet20(), networks.cifar10(), evaluate, FEW_BITS_CALIBRATION)
    original = bench.prepare()
    rows = bench.rows(original, [bench.own(name, stages) for name, stages in FEW_BITS.items()])
    _show(rows)
    *_, layers, blocks = rows
    gained = blocks.sqnr_db - layers.sqnr_db
    return all([check("dB of SQNR gained by blocks with 2 bits", gained, FEWEST_DB_BY_BLOCKS, at_most=False)])


def _all_own(bench: Bench) -> Iterator[Quantized]:
    for name, stages in OWN.items():
        yield bench.own(name, stages)


def _all_theirs(
    bench: Bench, original: Artifact, peers: dict[str, Path | None], *, hungry: bool
) -> Iterator[Quantized]:
    for name, method in THEIRS.items():
        package = method.partition("_")[0]
        python = peers.get(package, Path(sys.executable))
        if python is None:
            remark(f"{name}: skipped, it has no environment (--make-peers makes one)")
        elif method in HUNGRY and not hungry:
            remark(f"{name}: skipped, it holds all activations (--hungry)")
        else:
            try:
                yield bench.theirs(name, method, python, original)
            except RuntimeError as error:
                remark(f"{name}: failed: {error}")


def _environment(name: str, *, make: bool) -> Path | None:
    """The Python of a peer's own environment; None where there is none."""
    folder = ROOT / "build" / "peers" / name
    python = folder / "bin" / "python"
    if not python.exists() and make:
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", *PEERS[name]], check=True)
    return python if python.exists() else None


def _claims(rows: Sequence[Row], float_top1: float) -> Iterator[bool]:
    found = {row.name: row for row in rows}
    best, plain, small = (
        found[name] for name in ("edgepress", "edgepress min-max", "edgepress w4a8, ends in 8 bits")
    )
    theirs = [row for row in rows if row.name in THEIRS]
    yield check("top-1 points lost by INT8", float_top1 - best.top1, LARGEST_DROP_POINTS)
    yield check("top-1 points lost by w4a8, ends in 8 bits", float_top1 - small.top1, LARGEST_W4_DROP_POINTS)
    yield check("INT8 latency over FP32", best.latency_ratio, LARGEST_LATENCY_RATIO)
    if theirs:
        ahead = best.sqnr_db - max(row.sqnr_db for row in theirs)
        yield check("dB of SQNR ahead of the best peer", ahead, FEWEST_DB_AHEAD, at_most=False)
        yield check("CPU s of min-max", plain.cpu_seconds, min(row.cpu_seconds for row in theirs))
        yield check("MB of the file", best.megabytes, max(row.megabytes for row in theirs))


def _show(rows: Sequence[Row]) -> None:
    columns = ["quantizer", "top-1 %", "agree %", "SQNR dB", "MB", "CPU s", "peak MB", "× FP32 latency"]
    print_table(
        columns,
        [
            [row.name, f"{row.top1:.2f}", f"{row.agree:.1f}", f"{row.sqnr_db:.1f}", f"{row.megabytes:.2f}",
             f"{row.cpu_seconds:.0f}", f"{row.peak_mb:.0f}", f"{row.latency_ratio:.2f}"]
            for row in rows
        ],
    )  # fmt: skip


def _top1(logits: np.ndarray, labels: np.ndarray) -> float:
    return 100 * float(np.mean(logits.argmax(1) == labels))


def _file(name: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in name)


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
