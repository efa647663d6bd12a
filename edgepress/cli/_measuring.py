"""Measuring artifacts on devices, one device after the other; what was measured is kept, whatever fails behind it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgepress import benchmarks
from edgepress.accuracy import can_evaluate, evaluate
from edgepress.benchmarks import MEASUREMENTS_FILE, Measurement, Protocol
from edgepress.data import Data
from edgepress.progress import Progress
from edgepress.runtime import Runner


@dataclass(frozen=True, kw_only=True)
class Measuring:
    """How to measure. `folder` gets a line for each measurement as soon as its device is done. With `resume`, a device
    of which the folder has every measurement already is not asked again."""

    protocol: Protocol
    folder: Path
    data: Data | None = None
    limit: int | None = None
    resume: bool = False

    def run(self, runners: Sequence[Runner], progress: Progress) -> list[Measurement]:
        """A measurement of each runner, in order; those of one device were interleaved."""
        path = self.folder / MEASUREMENTS_FILE
        known = benchmarks.read(path) if self.resume and path.exists() else []
        found: dict[int, Measurement] = {}
        for places in benchmarks.by_device(runners):
            group = [runners[place] for place in places]
            measured = self._known(group, known)
            if measured is None:
                measured = measure(group, self.protocol, self.data, self.limit, progress)
                benchmarks.append(path, measured)
            found |= zip(places, measured, strict=True)
        return [found[place] for place in range(len(runners))]

    def _known(self, runners: Sequence[Runner], known: Sequence[Measurement]) -> list[Measurement] | None:
        """The newest measurement of each; None where one is missing: what is compared is measured in turns."""
        found = []
        for runner in runners:
            same = [one for one in known if self._is_of(runner, one)]
            if not same:
                return None
            found.append(same[-1])
        return found

    def _is_of(self, runner: Runner, measured: Measurement) -> bool:
        return (
            (measured.sha256, measured.device, measured.threads, measured.batch)
            == (runner.artifact.manifest.sha256, runner.target.place, runner.threads, self.protocol.batch)
            and measured.runner in runner.name().split("/")
            and (measured.accuracy is not None or not self._scores(runner))
        )

    def _scores(self, runner: Runner) -> bool:
        return self.data is not None and can_evaluate(self.data, runner.artifact.manifest.preprocess)


def measure(
    runners: Sequence[Runner], protocol: Protocol, data: Data | None, limit: int | None, progress: Progress
) -> list[Measurement]:
    """Time the runners in turns; with labelled data, measure each one's accuracy too."""
    measured = benchmarks.compare(runners, protocol, progress=progress)
    with_accuracy = []
    for runner, measurement in zip(runners, measured, strict=True):
        preprocess = runner.artifact.manifest.preprocess
        if data is None or not can_evaluate(data, preprocess):
            return measured
        with runner:
            accuracy = evaluate(
                runner.run,
                data,
                preprocess,
                reading=runner.artifact.manifest.reading,
                limit=limit,
                progress=progress,
            )
        with_accuracy.append(dataclasses.replace(measurement, accuracy=accuracy))
    return with_accuracy
