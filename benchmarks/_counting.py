"""What is taken on an emulated device in place of times: how many instructions one inference is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgepress.benchmarks._environment import Environment
from edgepress.benchmarks._measurement import Measurement, subject
from edgepress.benchmarks._protocol import Protocol, arrays_for
from edgepress.instructions import InstructionCounter
from edgepress.progress import Progress, silent, track
from edgepress.runtime import Runner

WARMUP_RUNS = 2
"""The first inference plans and allocates: ONNX Runtime's takes 15 % more instructions. The third is as all others."""


def count(
    runners: Sequence[Runner],
    protocol: Protocol = Protocol(),
    inputs: Sequence[np.ndarray] | None = None,
    progress: Progress = silent,
) -> list[Measurement]:
    """Open each runner, execute it `protocol.counted_runs` times, close it; in a process that an emulator counts for.

    Counts do not depend on what else the machine does: so nobody takes turns. DeviceFailed where nobody counts,
    otherwise as `compare`.
    """
    counter, environment = InstructionCounter(), Environment.read()
    try:
        return [
            _counted(runner, counter, environment, protocol, arrays_for(runner, protocol, inputs))
            for runner in track(runners, "counting instructions", progress)
        ]
    finally:
        counter.close()


def _counted(
    runner: Runner,
    counter: InstructionCounter,
    environment: Environment,
    protocol: Protocol,
    arrays: Sequence[np.ndarray],
) -> Measurement:
    counts = []
    with runner:
        runner.load_inputs(arrays)
        for _ in range(WARMUP_RUNS):
            runner.invoke()
        for _ in range(protocol.counted_runs):
            before = counter.read()
            runner.invoke()
            counts.append(counter.read() - before)
        told = subject(runner)
    return Measurement(
        **told,
        batch=len(arrays[0]),
        warmup_runs=WARMUP_RUNS,
        instructions=tuple(counts),
        emulated=True,
        environment=environment,
    )
