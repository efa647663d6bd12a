"""One artifact, measured: every latency sample and what it cost, kept as one JSON line each."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgepress.accuracy import Score
from edgepress.artifact import Precision, Verification
from edgepress.benchmarks._environment import Environment
from edgepress.benchmarks._sustained import Window
from edgepress.errors import BadInput
from edgepress.files import existing_file
from edgepress.history import stages_among
from edgepress.records import decode, encode
from edgepress.runtime import LayerTime, Runner

MEASUREMENTS_FILE = "measurements.jsonl"


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What one Runner did with one artifact.

    `latency_ms` holds one entry a timed `invoke`, in order; the first `len / rounds` belong to the first
    round and so on. Measurements whose rounds were interleaved share one `comparison` id. `load_ms` is opening the
    file with the runtime already imported; `first_inference_ms` the first `invoke` after it.
    Both are taken when the runtime and its code are already in memory: the artifact was opened once before.
    `peak_memory_mb` is how far the process's peak resident memory, between before loading and after
    the warm-up, rose above what was resident before (None where the system does not tell).
    `cpu_ms` is the processor time of one timed `invoke` on average, all threads together: other work on the
    machine lengthens `latency_ms`, but hardly this.
    `device_ms` has an entry beside each of `latency_ms` where the device has a clock of its own, as a GPU: what that says
    of the same `invoke`, without the way there.
    `device` is where, as the user calls it, and `runner` what executed it there.
    `steps` are the stages and conversions in the artifact's history. `sustained` is what came of running it on and on.
    On an emulated device (`emulated`) a millisecond means nothing: there are no samples, times are None, and so are the
    statistics. In their place `instructions` holds how many each counted `invoke` was. One with both cannot be made.
    """

    name: str
    path: str
    format: str
    precision: Precision
    sha256: str
    size_bytes: int
    steps: tuple[str, ...] = ()
    device: str
    runner: str
    threads: int
    batch: int
    latency_ms: tuple[float, ...] = ()
    rounds: int = 1
    comparison: str = ""
    warmup_runs: int = 0
    load_ms: float | None = None
    first_inference_ms: float | None = None
    peak_memory_mb: float | None = None
    cpu_ms: float | None = None
    device_ms: tuple[float, ...] = ()
    emulated: bool = False
    instructions: tuple[int, ...] = ()
    accuracy: Score | None = None
    verification: Verification | None = None
    layers: tuple[LayerTime, ...] = ()
    sustained: tuple[Window, ...] = ()
    warnings: tuple[str, ...] = ()
    environment: Environment

    def __post_init__(self) -> None:
        timed = (
            *self.latency_ms,
            *self.device_ms,
            self.load_ms,
            self.first_inference_ms,
            self.cpu_ms,
            *self.layers,
        )
        if self.emulated and any(time is not None for time in timed):
            raise ValueError("an emulated device has no times")
        if self.instructions and not self.emulated:
            raise ValueError("instructions are counted on emulated devices only")

    @property
    def slowdown(self) -> float | None:
        """The last window's latency over the first's, of a sustained run."""
        return self.sustained[-1].median_ms / self.sustained[0].median_ms if self.sustained else None

    @property
    def median_ms(self) -> float | None:
        return self.percentile_ms(50)

    @property
    def p90_ms(self) -> float | None:
        return self.percentile_ms(90)

    @property
    def p99_ms(self) -> float | None:
        return self.percentile_ms(99)

    @property
    def mean_ms(self) -> float | None:
        return float(np.mean(self.latency_ms)) if self.latency_ms else None

    @property
    def cv(self) -> float | None:
        """Standard deviation over mean."""
        return float(np.std(self.latency_ms) / np.mean(self.latency_ms)) if self.latency_ms else None

    @property
    def spread(self) -> float | None:
        """The distance between the quartiles over the median: unlike `cv`, single outliers do not move it."""
        if not self.latency_ms:
            return None
        low, middle, high = np.percentile(self.latency_ms, (25, 50, 75))
        return float((high - low) / middle)

    @property
    def median_instructions(self) -> float | None:
        return float(np.median(self.instructions)) if self.instructions else None

    @property
    def instruction_spread(self) -> float | None:
        """The distance between the most and the fewest over the median."""
        if not self.instructions:
            return None
        return float(np.ptp(self.instructions) / np.median(self.instructions))

    @property
    def cpu_share(self) -> float | None:
        """Processor time over wall time: on one thread, below 1 means that others ran meanwhile."""
        return self.cpu_ms / self.mean_ms if self.cpu_ms and self.mean_ms else None

    @property
    def throughput(self) -> float | None:
        """Samples a second at the median latency."""
        return 1000 * self.batch / self.median_ms if self.median_ms else None

    @property
    def conditions(self) -> tuple[object, ...]:
        """What has to be alike for two files' figures to say something of the files."""
        return (self.device, self.runner, self.threads, self.batch)

    @property
    def stages(self) -> tuple[str, ...]:
        """The compression stages in its history."""
        return stages_among(self.steps)

    @property
    def is_original(self) -> bool:
        """Converted perhaps, but not compressed."""
        return not self.stages

    def percentile_ms(self, percent: float) -> float | None:
        return float(np.percentile(self.latency_ms, percent)) if self.latency_ms else None


def subject(runner: Runner) -> dict[str, Any]:
    """The fields that say what an open runner measures, and on what."""
    artifact, manifest = runner.artifact, runner.artifact.manifest
    return {
        "name": artifact.path.name,
        "path": str(artifact.path),
        "format": artifact.format,
        "precision": manifest.precision,
        "sha256": manifest.sha256,
        "size_bytes": manifest.size_bytes,
        "steps": manifest.history.names(),
        "device": runner.target.place,
        "runner": runner.name(),
        "threads": runner.threads,
        "verification": manifest.verification,
    }


def environment_of(runner: Runner, here: Environment) -> Environment:
    """Of an open runner: that of the machine where it executes, which is `here` unless the runner says otherwise."""
    return here if runner.environment is None else Environment(**runner.environment)


def append(path: Path, measurements: Iterable[Measurement]) -> None:
    """Add one line each to the file, in a single write, so that a killed run leaves whole lines."""
    lines = "".join(f"{encode(measurement, indent=None)}\n" for measurement in measurements).encode()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab", buffering=0) as stream:
            stream.write(lines)
            os.fsync(stream.fileno())
    except OSError as error:
        raise BadInput(
            f"Cannot write {path.name}: {error.strerror}.",
            where=str(path.absolute()),
            hint="free space, or another folder (-o)",
        ) from None


def read(path: Path) -> list[Measurement]:
    """Every measurement in the file, oldest first; BadInput names the line that cannot be read."""
    lines = existing_file(path, "measurements file").read_bytes().splitlines()
    return [
        decode(
            Measurement,
            line,
            f"Line {number} of {path.name}",
            where=f"{path.absolute()}:{number}",
            hint="delete that line; edgepress benchmark measures again",
        )
        for number, line in enumerate(lines, 1)
    ]
