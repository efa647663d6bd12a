"""Measuring on other devices: the agent there takes the samples, with the protocol of this very folder."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from edgepress.benchmarks._measurement import Measurement
from edgepress.errors import UnsupportedTarget
from edgepress.progress import Progress
from edgepress.records import decode
from edgepress.runtime import Runner

if TYPE_CHECKING:
    from edgepress.benchmarks._protocol import Protocol


def compare_elsewhere(
    runners: Sequence[Runner],
    protocol: Protocol,
    inputs: Sequence[np.ndarray] | None,
    progress: Progress,
) -> list[Measurement]:
    """As `compare`, on the device of all `runners`; as `count`, where it is emulated. Raises DeviceFailed where it does not do its part."""
    from edgepress.runtime.remote import Link, RemoteRunner

    remote = [runner for runner in runners if isinstance(runner, RemoteRunner)]
    assert len(remote) == len(runners), "runners of other devices are remote"
    with Link(remote[0].target) as link:
        if link.facts.emulated:
            _check_threads(remote)
        entrants = [runner.entrant(link) for runner in remote]
        measured, _ = link.call(
            "count" if link.facts.emulated else "compare",
            *(inputs or ()),
            progress=progress,
            entrants=entrants,
            protocol=dataclasses.asdict(protocol),
        )
    return [_of(runner, one) for runner, one in zip(remote, measured, strict=True)]


def _check_threads(runners: Sequence[Runner]) -> None:
    """Raise UnsupportedTarget for more threads than one: those that wait for one another execute instructions too, as
    many as it takes the emulator."""
    for runner in runners:
        if runner.threads != 1:
            raise UnsupportedTarget(
                "Instructions are counted for one thread only.",
                where=f"{runner.target.place}, {runner.threads} threads",
                hint="--threads 1",
            )


def _of(runner: Runner, measured: Any) -> Measurement:
    """The measurement under the names that the file has here."""
    artifact, manifest = runner.artifact, runner.artifact.manifest
    return dataclasses.replace(
        decode(
            Measurement,
            json.dumps(measured).encode(),
            "The device's answer",
            where=runner.target.place,
            hint="measure there again: its edgepress may be another version",
        ),
        name=artifact.path.name,
        path=str(artifact.path),
        steps=manifest.history.names(),
        device=runner.target.place,
        verification=manifest.verification,
    )
