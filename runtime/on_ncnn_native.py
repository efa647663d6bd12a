"""Runs ncnn files by a static program of our own, on boards and phones without Python as well as here."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from contextlib import ExitStack
from typing import ClassVar

import numpy as np

from edgepress import native
from edgepress.artifact import Artifact
from edgepress.devices import Device
from edgepress.errors import BackendMissing
from edgepress.layer_output import LayerOutput
from edgepress.ncnn_file import NCNN_FORMAT
from edgepress.runtime._ncnn_layers import INPUT, layer_time
from edgepress.runtime._runner import LayerTime, Runner, Turn
from edgepress.runtime._target import Target
from edgepress.runtime.remote import Link, RemoteRunner
from edgepress.runtime.remote.link import NATIVE


class NcnnNativeRunner(RemoteRunner):
    """ncnn with what networks of convolutions need of it, one sample at a time. The program is copied to the device, and
    executes there; the clock is its own. It tells no layer's outputs, and takes float32 alone.
    """

    formats: ClassVar[tuple[str, ...]] = (NCNN_FORMAT,)
    devices: ClassVar[tuple[type[Device], ...]] = (Device,)
    portable: ClassVar[bool] = False

    def __init__(self, artifact: Artifact, target: Target = Target(), threads: int = 1) -> None:
        super().__init__(artifact, target, threads, (NATIVE,))

    def name(self) -> str:
        return NATIVE

    @classmethod
    def require(cls) -> None:
        """For this machine; for another, `open` asks, when it is known."""
        here = f"{platform.system()} on {platform.machine()}"
        if here not in {f"Linux on {processor}" for processor in native.PROCESSORS}:
            raise BackendMissing(f"The native runner is not built for {here}.", hint="the runner ncnn")
        native.require(platform.machine())

    def __enter__(self) -> Runner:
        self.open()
        return self

    def open(self) -> None:
        with ExitStack() as stack:
            self._link = stack.enter_context(Link(self.target, native=True))
            told, _ = self._link.call("open", **self.entrant(self._link))
            self.load_ms, self.environment = told["load_ms"], self._link.facts.environment
            self._opened = stack.pop_all()

    def invoke(self) -> None:
        self.turn(1)

    def turn(self, runs: int) -> Turn:
        told, _ = self._link.call("invoke", runs=runs)
        emulated, peak_kb = self._link.facts.emulated, told["peak_memory_kb"]
        return Turn(
            latency_ms=() if emulated else tuple(told["latency_ms"]),
            cpu_ms=None if emulated else told["cpu_ms"],
            instructions=tuple(told["instructions"]),
            peak_memory_mb=None if emulated or peak_kb is None else round(peak_kb * 1024 / 1e6, 2),
        )

    def read_outputs(self) -> tuple[np.ndarray, ...]:
        specs = self.artifact.manifest.signature.outputs
        return tuple(
            array.astype(spec.dtype).reshape(spec.with_batch(1))
            for spec, array in zip(specs, super().read_outputs(), strict=True)
        )

    def profile(self, runs: int) -> tuple[LayerTime, ...]:
        """As the runner with Python has them, but on the program's own clock; of an emulated device none."""
        if self._link.facts.emulated:
            return ()
        told, _ = self._link.call("profile", runs=runs + 1)
        times = zip(told["layers"], zip(*told["runs_ms"][1:], strict=True), strict=True)
        return tuple(layer_time(name, type, samples) for (name, type), samples in times if type != INPUT)

    def read_layers(self, arrays: Sequence[np.ndarray]) -> tuple[LayerOutput, ...]:
        return ()
