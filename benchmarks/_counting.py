"""What is taken on an emulated device in place of times: how many instructions one inference is."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence

import numpy as np

from edgepress.benchmarks._environment import Environment
from edgepress.benchmarks._measurement import Measurement, environment_of, subject
from edgepress.benchmarks._protocol import Protocol, arrays_for
from edgepress.errors import UnsupportedTarget
from edgepress.instructions import InstructionCounter
from edgepress.progress import Progress, silent, track
from edgepress.runtime import Runner

WARMUP_RUNS = 2
"""The first inference plans and allocates: ONNX Runtime's takes 15 % more instructions. The third is as all others."""

ASKED = 5
"""Calls that do nothing, the first of which also warms up what asking takes."""


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
    if protocol.sustain_seconds:
        raise UnsupportedTarget(
            "An emulated device does not heat up, so --sustain has no meaning there.",
            where=runners[0].target.place,
            hint="leave out --sustain, or measure on the device itself",
        )
    here = Environment.read()
    return [
        _counted(runner, here, protocol, arrays_for(runner, protocol, inputs))
        for runner in track(runners, "counting instructions", progress)
    ]


def _counted(
    runner: Runner, here: Environment, protocol: Protocol, arrays: Sequence[np.ndarray]
) -> Measurement:
    with runner:
        runner.rehearse(arrays)
        for _ in range(WARMUP_RUNS - 1):
            runner.invoke()
        return Measurement(
            **subject(runner),
            batch=len(arrays[0]),
            warmup_runs=WARMUP_RUNS,
            instructions=_instructions(runner, protocol.counted_runs),
            emulated=True,
            environment=environment_of(runner, here),
        )


def _instructions(runner: Runner, runs: int) -> tuple[int, ...]:
    """Of each of so many invocations, in the process that executes them, without those that asking takes."""
    if (there := runner.turn(runs)) is not None:
        return there.instructions
    with contextlib.closing(InstructionCounter()) as counter:
        asking = min(_of(counter, lambda: None) for _ in range(ASKED))
        return tuple(_of(counter, runner.invoke) - asking for _ in range(runs))


def _of(counter: InstructionCounter, call: Callable[[], None]) -> int:
    before = counter.read()
    call()
    return counter.read() - before
