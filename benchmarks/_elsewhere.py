"""Measuring on other devices: the agent there takes the samples, with the protocol of this very folder."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from edgepress.benchmarks._measurement import Measurement
from edgepress.progress import Progress
from edgepress.runtime import Runner

if TYPE_CHECKING:
    from edgepress.benchmarks._protocol import Protocol


def compare_elsewhere(
    runners: Sequence[Runner],
    protocol: Protocol,
    inputs: Sequence[np.ndarray] | None,
    progress: Progress,
) -> list[Measurement]:
    """As `compare`, on the device of all `runners`. Raises DeviceFailed where it does not do its part."""
    from edgepress.runtime.remote import Link, RemoteRunner

    remote = [runner for runner in runners if isinstance(runner, RemoteRunner)]
    assert len(remote) == len(runners), "runners of other devices are remote"
    with Link(remote[0].target) as link:
        entrants = [runner.entrant(link) for runner in remote]
        measured, _ = link.call(
            "compare",
            *(inputs or ()),
            progress=progress,
            entrants=entrants,
            protocol=dataclasses.asdict(protocol),
        )
    found = [_of(runner, one) for runner, one in zip(remote, measured, strict=True)]
    return [_without_times(one) for one in found] if link.facts.emulated else found


def _of(runner: Runner, measured: Any) -> Measurement:
    """The measurement under the names that the file has here."""
    from pydantic import TypeAdapter

    artifact, manifest = runner.artifact, runner.artifact.manifest
    return dataclasses.replace(
        TypeAdapter(Measurement).validate_json(json.dumps(measured)),
        name=artifact.path.name,
        path=str(artifact.path),
        steps=manifest.history.names(),
        target=runner.target.place,
        verification=manifest.verification,
    )


def _without_times(measured: Measurement) -> Measurement:
    """What is left where the device is emulated."""
    return dataclasses.replace(
        measured,
        latency_ms=(),
        rounds=1,
        load_ms=None,
        first_inference_ms=None,
        cpu_ms=None,
        layers=(),
        warnings=(),
    )
