"""Times networks and single layers on a target, through conversion, its runtime and the timing protocol.

compress.apply(program, recipe, stopwatch=TargetStopwatch())
"""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from weakref import WeakKeyDictionary

from edgepress import benchmarks, convert, runtime
from edgepress.artifact import PROGRAM_FORMATS, Artifact
from edgepress.benchmarks import Measurement, Protocol
from edgepress.errors import BadOption, UnknownName, UnsupportedTarget
from edgepress.latency._device import check_device
from edgepress.latency._layer_probe import probe
from edgepress.latency._layer_table import LayerTable
from edgepress.latency._onnx_layer import write_layer
from edgepress.program import Program
from edgepress.progress import Progress, silent, track
from edgepress.runtime import Runner, Target
from edgepress.stopwatch import LatencyRatio, LayerShape

__all__ = ["TargetStopwatch"]

LAYER_PROTOCOL = Protocol(
    rounds=10, min_runs=50, min_seconds=0.15, max_seconds=2.0, min_warmup_runs=10, max_warmup_runs=30
)
NETWORK_PROTOCOL = Protocol(rounds=30, min_runs=120, min_seconds=1.0, max_seconds=10.0)
LAYERS_AT_ONCE = 8
"""Layers that take turns in one comparison, after which the table is saved."""


class TargetStopwatch:
    """The Stopwatch of edgepress/stopwatch.py for every target whose runner loads a format we write.

    Layers are kept in a table on disk (edgepress/cache.py says where), so that each is measured
    once. `threads` is how many the runtime may use.
    """

    def __init__(
        self,
        threads: int = 1,
        *,
        layer_protocol: Protocol = LAYER_PROTOCOL,
        network_protocol: Protocol = NETWORK_PROTOCOL,
    ) -> None:
        self.threads = threads
        self.layer_protocol, self.network_protocol = layer_protocol, network_protocol
        self._converted: WeakKeyDictionary[Program, dict[str, Artifact]] = WeakKeyDictionary()
        self._files = 0

    @functools.cached_property
    def _folder(self) -> tempfile.TemporaryDirectory[str]:
        """Made for the first file: most runs time nothing."""
        return tempfile.TemporaryDirectory(prefix="edgepress-latency-")

    def check(self, program: Program, target: str) -> None:
        meant = _parsed(target)
        runtime.find(meant.runner).require() if meant.device.here else check_device(meant)
        convert.check(program, _format(meant.runner))

    def layer_costs(
        self, layers: Sequence[LayerShape], target: str, progress: Progress = silent
    ) -> tuple[float, ...]:
        table = LayerTable.load(_parsed(target), self.threads)
        missing = [layer for layer in dict.fromkeys(layers) if layer not in table]
        for some in track(list(_groups(missing)), f"timing single layers on {target}", progress):
            table.add(zip(some, self._measured(some, target), strict=True))
            table.save()
        return tuple(table[layer] for layer in layers)

    def ratio(
        self, original: Program, program: Program, target: str, progress: Progress = silent
    ) -> LatencyRatio:
        networks = [original] if program is original else [original, program]
        runners = [self._opened(self._artifact(network, target), target) for network in networks]
        measured = benchmarks.compare(runners, self.network_protocol, progress=progress)
        found = benchmarks.ratio(measured[0], measured[-1])
        return LatencyRatio(
            value=found.value,
            low=found.low,
            high=found.high,
            original_cost=_cost(measured[0]),
            unit="instructions" if measured[0].emulated else "ms",
        )

    def _measured(self, layers: Sequence[LayerShape], target: str) -> list[float]:
        artifacts = [self._write_layer(layer, target) for layer in layers]
        runners = [self._opened(artifact, target) for artifact in artifacts]
        measured = benchmarks.compare(runners, self.layer_protocol)
        for artifact in artifacts:
            artifact.path.unlink()
        return [_cost(measurement) for measurement in measured]

    def _artifact(self, program: Program, target: str) -> Artifact:
        """The program's file for the target, written once as long as the program lives."""
        written = self._converted.setdefault(program, {})
        if target not in written:
            written[target] = self._write(program, target)
        return written[target]

    def _write(self, program: Program, target: str) -> Artifact:
        path = self._new_path(target)
        return convert.to(program, path.suffix.removeprefix("."), path)

    def _write_layer(self, layer: LayerShape, target: str) -> Artifact:
        path = self._new_path(target)
        return (
            write_layer(layer, path)
            if path.suffix == ".onnx"
            else convert.to(probe(layer), path.suffix[1:], path)
        )

    def _new_path(self, target: str) -> Path:
        self._files += 1
        return Path(self._folder.name, f"{self._files}.{_format(_parsed(target).runner)}")

    def _opened(self, artifact: Artifact, target: str) -> Runner:
        return runtime.open(artifact, Target.parse(target), self.threads)


def _cost(measured: Measurement) -> float:
    """Its median, of whatever was taken."""
    found = measured.median_instructions if measured.emulated else measured.median_ms
    assert found is not None, "a comparison that ends has samples"
    return found


def _parsed(target: str) -> Target:
    """The target; BadOption where it names no runner, UnknownName where there is none of that name."""
    try:
        meant = Target.parse(target)
    except UnknownName as error:
        raise UnknownName(error.kind, error.name, error.known, where="latency") from None
    if not meant.runner:
        raise BadOption(
            f"{target!r} does not say which runtime to time.",
            where="latency",
            hint=", ".join(str(replace(meant, runner=timed)) for timed in _timed(meant)),
        )
    if runtime.find(meant.runner).portable or meant.device.here:
        return meant
    raise UnsupportedTarget(
        f"{meant.runner} runs on this machine only.", where=f"latency {target}", hint=", ".join(_timed(meant))
    )


def _format(runner: str) -> str:
    """The format in which a network is written for the runner; UnsupportedTarget where we write none of its formats."""
    for format in _written(runner):
        return format
    raise UnsupportedTarget(
        f"Networks cannot be timed on {runner}: no conversion writes files for this runtime.",
        where="latency",
        hint=f"a target with one of these runners: {', '.join(_timed())}",
    )


def _timed(target: Target = Target()) -> list[str]:
    """The runners that load a format we write, of those that run on the target's device."""
    able = [name for name in runtime.names() if runtime.find(name).portable or target.device.here]
    return [name for name in able if _written(name)]


def _written(runner: str) -> list[str]:
    """The formats of the runner that are made for it: a file that holds a whole Program is made for none."""
    return [
        format
        for format in runtime.find(runner).formats
        if format in convert.formats() and format not in PROGRAM_FORMATS
    ]


def _groups(layers: Sequence[LayerShape]) -> Iterator[Sequence[LayerShape]]:
    return (layers[start : start + LAYERS_AT_ONCE] for start in range(0, len(layers), LAYERS_AT_ONCE))
