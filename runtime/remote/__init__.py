"""Runs artifacts on other devices: an agent of ours does there what a Runner does here."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any, ClassVar

import numpy as np

from edgepress.artifact import Artifact
from edgepress.layer_output import LayerOutput
from edgepress.runtime._runner import LayerTime, Runner
from edgepress.runtime._target import Target
from edgepress.runtime.remote.bundle import portable_runners
from edgepress.runtime.remote.link import Facts, Link

__all__ = ["Facts", "Link", "RemoteRunner", "portable_runners"]

TOLD = ("format", "layout", "precision", "bound_to", "size_bytes", "sha256")
"""What of a manifest, besides its signature, a runner there may ask."""


class RemoteRunner(Runner):
    """One artifact on the first of the `runners` that the target's device has. `invoke` takes the way there and back:
    what is timed is timed there, by `compare` of edgepress.benchmarks."""

    formats: ClassVar[tuple[str, ...]] = ()

    def __init__(self, artifact: Artifact, target: Target, threads: int, runners: Sequence[str]) -> None:
        super().__init__(artifact, target, threads)
        self.runners = tuple(runners)
        self._name = ""

    def name(self) -> str:
        """Which of the `runners` it is, once it is open."""
        return self._name or "/".join(self.runners)

    def entrant(self, link: Link) -> Mapping[str, Any]:
        """What the agent has to know to run it; the file is copied to the device unless it lies there."""
        manifest = self.artifact.manifest
        told = {name: getattr(manifest, name) for name in TOLD}
        return {
            "path": link.place(self.artifact),
            "runners": self.runners,
            "threads": self.threads,
            "manifest": {**told, "signature": dataclasses.asdict(manifest.signature)},
        }

    def open(self) -> None:
        with ExitStack() as stack:
            self._link = stack.enter_context(Link(self.target))
            self._name, _ = self._link.call("open", **self.entrant(self._link))
            self._opened = stack.pop_all()

    def close(self) -> None:
        self._opened.close()

    def load_inputs(self, arrays: Sequence[np.ndarray]) -> None:
        self._link.call("load_inputs", *arrays)

    def invoke(self) -> None:
        self._link.call("invoke")

    def read_outputs(self) -> tuple[np.ndarray, ...]:
        return self._link.call("read_outputs")[1]

    def profile(self, runs: int) -> tuple[LayerTime, ...]:
        """Of an emulated device none: its times mean nothing."""
        if self._link.facts.emulated:
            return ()
        return tuple(LayerTime(**layer) for layer in self._link.call("profile", runs=runs)[0])

    def read_layers(self, arrays: Sequence[np.ndarray]) -> tuple[LayerOutput, ...]:
        named, values = self._link.call("read_layers", *arrays)
        return tuple(
            LayerOutput(layer, type, value) for (layer, type), value in zip(named, values, strict=True)
        )
