"""The one place where edgepress takes a time: warm-up, then interleaved rounds, `invoke` alone on the clock."""

from __future__ import annotations

import gc
import math
import statistics
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Annotated

import numpy as np

from edgepress.benchmarks import _warnings
from edgepress.benchmarks._elsewhere import compare_elsewhere
from edgepress.benchmarks._environment import Environment
from edgepress.benchmarks._measurement import Measurement, environment_of, subject
from edgepress.benchmarks._memory import PeakMemory
from edgepress.benchmarks._sustained import Window, sustained
from edgepress.bounds import Ge, Gt
from edgepress.errors import BadInput
from edgepress.progress import Progress, silent, track
from edgepress.runtime import LayerTime, Runner, Turn

STABLE_WINDOW = 5
STABLE_WITHIN = 0.02
NS_PER_MS = 1e6


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How long to measure. Times and counts are for each runner.

    The warm-up ends when the median of the last five runs is within 2 % of that of the five before, but
    not before `min_warmup_runs` and not after `max_warmup_runs`. Then come `rounds` rounds in which every runner has its
    turn: as many timed runs as reach `min_runs` and `min_seconds` over all rounds, but at most `max_runs`
    and about `max_seconds`. `profile_runs` more, off the clock, give the times of single layers.
    `cool_down_seconds` of rest come before every turn. `sustain_seconds` more of running on and on, behind it all, tell
    whether the device keeps its speed.
    On an emulated device all this gives way to `counted_runs`, whose instructions are counted.
    """

    batch: Annotated[int, Gt(0)] = 1
    min_warmup_runs: Annotated[int, Gt(0)] = 10
    max_warmup_runs: Annotated[int, Gt(0)] = 100
    rounds: Annotated[int, Gt(0)] = 25
    min_runs: Annotated[int, Gt(0)] = 100
    max_runs: Annotated[int, Gt(0)] = 2000
    min_seconds: Annotated[float, Ge(0)] = 1.0
    max_seconds: Annotated[float, Gt(0)] = 20.0
    profile_runs: Annotated[int, Ge(0)] = 0
    counted_runs: Annotated[int, Gt(0)] = 5
    cool_down_seconds: Annotated[float, Ge(0)] = 0.0
    sustain_seconds: Annotated[float, Ge(0)] = 0.0


def measure(
    runner: Runner,
    protocol: Protocol = Protocol(),
    inputs: Sequence[np.ndarray] | None = None,
    progress: Progress = silent,
) -> Measurement:
    """Open `runner`, time it alone, close it. Arguments and errors are those of `compare`."""
    return compare([runner], protocol, inputs, progress)[0]


def compare(
    runners: Sequence[Runner],
    protocol: Protocol = Protocol(),
    inputs: Sequence[np.ndarray] | None = None,
    progress: Progress = silent,
) -> list[Measurement]:
    """Open all `runners` in one process of their device and time them in turns, so that a slow spell hits all alike.

    `inputs` fit every runner's signature (batch axis first); without them each gets random ones of
    `protocol.batch` samples. Raises BadInput when they do not fit, and what opening a runner raises. Runners of
    several devices are compared with those of their own: the devices take turns, one after the other.
    """
    measured: dict[int, Measurement] = {}
    for places in by_device(runners):
        group = [runners[place] for place in places]
        measured |= zip(places, _way(group[0])(group, protocol, inputs, progress), strict=True)
    return [measured[place] for place in range(len(runners))]


def by_device(runners: Sequence[Runner]) -> list[list[int]]:
    """The places of the runners in their sequence, together where they run in one process."""
    groups: dict[object, list[int]] = {}
    for place, runner in enumerate(runners):
        device = runner.target.device
        there = (device, runner.target.python, _is_driven_from_here(runner))
        groups.setdefault("here" if device.here else there, []).append(place)
    return list(groups.values())


def _way(runner: Runner) -> Callable[..., list[Measurement]]:
    """How the runners of its device are measured."""
    if not _is_driven_from_here(runner):
        return compare_elsewhere
    device = runner.target.device
    if device.here or not device.launcher().emulated:
        return _compare_here
    from edgepress.benchmarks._counting import count

    return count


def _is_driven_from_here(runner: Runner) -> bool:
    return isinstance(runner.target.device, type(runner).devices)


def _compare_here(
    runners: Sequence[Runner],
    protocol: Protocol,
    inputs: Sequence[np.ndarray] | None,
    progress: Progress,
) -> list[Measurement]:
    here = Environment.read()
    with ExitStack() as stack:
        entrants = []
        for runner in track(runners, "warming up", progress):
            entrants.append(_opened(runner, stack, protocol, inputs))
            _warm_up(entrants[-1], protocol)
        environments = [environment_of(runner, here) for runner in runners]
        with _no_garbage_collection():
            deadline = time.perf_counter() + 2 * protocol.max_seconds * len(entrants)
            for round_index in track(range(protocol.rounds), "measuring", progress):
                for index in _order(round_index, len(entrants)):
                    time.sleep(protocol.cool_down_seconds)
                    deadline += protocol.cool_down_seconds
                    _take_turn(entrants[index])
                if time.perf_counter() > deadline:
                    break
            for entrant in entrants:
                entrant.sustain(protocol, progress)
        layers = [entrant.profile(protocol.profile_runs) for entrant in entrants]
    comparison = uuid.uuid4().hex if len(entrants) > 1 else ""
    return [
        entrant.measurement(environment, comparison, protocol, times)
        for entrant, environment, times in zip(entrants, environments, layers, strict=True)
    ]


@dataclass
class _Entrant:
    """A runner on its way through the protocol."""

    runner: Runner
    batch: int
    load_ms: float
    first_inference_ms: float
    memory: PeakMemory
    peak_memory_mb: float | None = None
    warmup_runs: int = 1
    settled: bool = False
    runs_per_turn: int = 1
    turns: int = 0
    latency_ms: list[float] = field(default_factory=list)
    device_ms: list[float] = field(default_factory=list)
    cpu_ms: float = 0.0
    sustained: tuple[Window, ...] = ()

    def sustain(self, protocol: Protocol, progress: Progress) -> None:
        if protocol.sustain_seconds:
            time.sleep(protocol.cool_down_seconds)
        self.sustained = sustained(
            lambda: _turn(self.runner, 1).latency_ms[0], protocol.sustain_seconds, progress
        )

    def profile(self, runs: int) -> tuple[LayerTime, ...]:
        return self.runner.profile(runs) if runs else ()

    def measurement(
        self, environment: Environment, comparison: str, protocol: Protocol, layers: tuple[LayerTime, ...]
    ) -> Measurement:
        latency_ms = tuple(self.latency_ms)
        cpu_ms = self.cpu_ms / len(latency_ms)
        unsettled = [] if self.settled else [f"Not settled after {self.warmup_runs} warm-up runs."]
        return Measurement(
            **subject(self.runner),
            batch=self.batch,
            latency_ms=latency_ms,
            rounds=self.turns,
            comparison=comparison,
            warmup_runs=self.warmup_runs,
            load_ms=self.load_ms,
            first_inference_ms=self.first_inference_ms,
            peak_memory_mb=self.peak_memory_mb,
            cpu_ms=cpu_ms,
            device_ms=tuple(self.device_ms),
            layers=layers,
            sustained=self.sustained,
            warnings=(
                *unsettled,
                *_warnings.of_samples(latency_ms, protocol.min_runs),
                *_warnings.of_processor(cpu_ms / statistics.fmean(latency_ms), self.runner.threads),
                *_warnings.of_environment(environment),
            ),
            environment=environment,
        )


def _opened(
    runner: Runner, stack: ExitStack, protocol: Protocol, inputs: Sequence[np.ndarray] | None
) -> _Entrant:
    """The runner, opened and run once, on the clock for load time, first inference and memory."""
    arrays = arrays_for(runner, protocol, inputs)
    runner.require()
    _rehearse(runner, arrays)
    memory = PeakMemory()
    started = time.perf_counter_ns()
    stack.enter_context(runner)
    load_ms = (time.perf_counter_ns() - started) / NS_PER_MS
    if runner.load_ms is not None:
        load_ms = runner.load_ms
    runner.load_inputs(arrays)
    return _Entrant(runner, len(arrays[0]), load_ms, _turn(runner, 1).latency_ms[0], memory)


def arrays_for(
    runner: Runner, protocol: Protocol, inputs: Sequence[np.ndarray] | None
) -> Sequence[np.ndarray]:
    """The inputs, or random ones of the protocol's batch; BadInput where they do not fit the runner's file."""
    signature = runner.artifact.manifest.signature
    arrays = signature.example(protocol.batch) if inputs is None else inputs
    signature.check_inputs(arrays)
    if inputs is None and len(arrays[0]) != protocol.batch:
        raise BadInput(
            f"This file takes batches of {len(arrays[0])} only, not of {protocol.batch}.",
            where=str(runner.artifact.path),
            hint=f"measure it with a batch of {len(arrays[0])}",
        )
    return arrays


def _rehearse(runner: Runner, arrays: Sequence[np.ndarray]) -> None:
    """Open, run once and close: importing the runtime and paging in its code would else count for whoever is first, and
    a file that is not what its manifest says is refused before anybody is timed."""
    with runner:
        runner.rehearse(arrays)


def _warm_up(entrant: _Entrant, protocol: Protocol) -> None:
    """Run until the latency settles, then plan how many runs a turn has."""
    times: list[float] = []
    deadline = time.perf_counter() + protocol.max_seconds
    while len(times) < protocol.max_warmup_runs and time.perf_counter() < deadline:
        last = _turn(entrant.runner, 1)
        times += last.latency_ms
        if len(times) >= protocol.min_warmup_runs and _is_stable(times):
            entrant.settled = True
            break
    entrant.warmup_runs += len(times)
    entrant.runs_per_turn = _runs_per_turn(statistics.median(times[-STABLE_WINDOW:]), protocol)
    entrant.peak_memory_mb = last.peak_memory_mb or entrant.memory.rise_mb()


def _is_stable(times: list[float]) -> bool:
    if len(times) < 2 * STABLE_WINDOW:
        return False
    before = statistics.median(times[-2 * STABLE_WINDOW : -STABLE_WINDOW])
    return abs(statistics.median(times[-STABLE_WINDOW:]) - before) <= STABLE_WITHIN * before


def _runs_per_turn(latency_ms: float, protocol: Protocol) -> int:
    runs = max(protocol.min_runs, protocol.min_seconds * 1000 / latency_ms)
    runs = min(runs, protocol.max_runs, protocol.max_seconds * 1000 / latency_ms)
    return max(1, math.ceil(runs / protocol.rounds))


def _order(round_index: int, count: int) -> list[int]:
    """Everyone starts, and follows each neighbour, equally often: rotated every other round, else reversed."""
    shift = (round_index // 2) % count
    order = [*range(shift, count), *range(shift)]
    return order[::-1] if round_index % 2 else order


def _take_turn(entrant: _Entrant) -> None:
    """One run off the clock, because the runner before has filled the caches with its own; then the timed ones."""
    entrant.runner.invoke()
    turn = _turn(entrant.runner, entrant.runs_per_turn)
    entrant.cpu_ms += turn.cpu_ms or 0.0
    entrant.latency_ms.extend(turn.latency_ms)
    entrant.device_ms.extend(turn.device_ms)
    entrant.turns += 1


def _turn(runner: Runner, runs: int) -> Turn:
    """Invoke so often, on the clock of the process that executes."""
    there = runner.turn(runs)
    if there is not None:
        return there
    cpu_started = time.process_time_ns()
    latency_ms, device_ms = [], []
    for _ in range(runs):
        started = time.perf_counter_ns()
        runner.invoke()
        latency_ms.append((time.perf_counter_ns() - started) / NS_PER_MS)
        if runner.device_ms is not None:
            device_ms.append(runner.device_ms)
    cpu_ms = (time.process_time_ns() - cpu_started) / NS_PER_MS
    return Turn(latency_ms=tuple(latency_ms), cpu_ms=cpu_ms, device_ms=tuple(device_ms))


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
