"""Runs on a device, in a process of its own, and answers the calls of edgepress/runtime/remote/link.py.

A call is the name of a method of `Agent`, its options as JSON, and arrays; the answer is JSON and arrays. What a runtime
prints goes to the standard error. It ends when its input does.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, fields
from pathlib import Path
from typing import IO, Any

import numpy as np

from edgepress import runtime
from edgepress.artifact import Artifact, Manifest
from edgepress.benchmarks._counting import count
from edgepress.benchmarks._environment import Environment
from edgepress.benchmarks._measurement import Measurement
from edgepress.benchmarks._protocol import Protocol, compare
from edgepress.errors import BackendMissing, EdgepressError
from edgepress.progress import Progress, silent
from edgepress.runtime import Runner
from edgepress.serving import READY, receive, send
from edgepress.signature import Signature, TensorSpec

Arrays = Sequence[np.ndarray]
Reply = tuple[Any, Arrays]


class Agent:
    """What can be called. At most one artifact is open at a time."""

    def __init__(self, progress: Progress = silent) -> None:
        self._progress = progress
        self._open = ExitStack()
        self._runner: Runner | None = None

    @property
    def runner(self) -> Runner:
        assert self._runner is not None, "open comes first"
        return self._runner

    def hello(self) -> Reply:
        """The machine, and which runtimes it has."""
        ready = [name for name in runtime.names() if _is_ready(name)]
        return {"environment": asdict(Environment.read()), "runners": ready}, ()

    def open(self, **entrant: Any) -> Reply:
        """Load an artifact; the name of the runner that did."""
        self.close()
        self._runner = self._open.enter_context(_runner(entrant))
        return self._runner.name(), ()

    def close(self) -> Reply:
        self._open.close()
        self._runner = None
        return None, ()

    def load_inputs(self, *arrays: np.ndarray) -> Reply:
        self.runner.load_inputs(arrays)
        return None, ()

    def invoke(self) -> Reply:
        self.runner.invoke()
        return None, ()

    def read_outputs(self) -> Reply:
        return None, self.runner.read_outputs()

    def profile(self, runs: int) -> Reply:
        return [asdict(layer) for layer in self.runner.profile(runs)], ()

    def read_layers(self, *arrays: np.ndarray) -> Reply:
        layers = self.runner.read_layers(arrays)
        return [[layer.layer, layer.type] for layer in layers], [layer.value for layer in layers]

    def compare(self, *inputs: np.ndarray, entrants: Sequence[Any], protocol: Mapping[str, Any]) -> Reply:
        """Measure the entrants in turns, as any machine does with its own."""
        return self._measured(compare, inputs, entrants, protocol)

    def count(self, *inputs: np.ndarray, entrants: Sequence[Any], protocol: Mapping[str, Any]) -> Reply:
        """Count the entrants' instructions, where this machine is emulated."""
        return self._measured(count, inputs, entrants, protocol)

    def _measured(
        self,
        how: Callable[..., list[Measurement]],
        inputs: Arrays,
        entrants: Sequence[Any],
        protocol: Mapping[str, Any],
    ) -> Reply:
        self.close()
        runners = [_runner(entrant) for entrant in entrants]
        measured = how(runners, Protocol(**protocol), inputs or None, self._progress)
        return [asdict(measurement) for measurement in measured], ()


def _is_ready(name: str) -> bool:
    try:
        runtime.find(name).require()
    except BackendMissing:
        return False
    return True


def _runner(entrant: Mapping[str, Any]) -> Runner:
    """The first of the entrant's `runners` that this device has; BackendMissing, with the way to get it, otherwise."""
    found = runtime.find(entrant["runners"][0])
    for name in reversed(entrant["runners"]):
        found = runtime.find(name) if _is_ready(name) else found
    try:
        found.require()
    except BackendMissing as error:
        packages = " ".join(package.partition(".")[0] for package in found.requires)
        hint = f"{sys.executable} -m pip install {packages}, on the device"
        raise BackendMissing(error.what, where=error.where, hint=hint) from None
    return found(_artifact(entrant), threads=entrant["threads"])


def _artifact(entrant: Mapping[str, Any]) -> Artifact:
    """The file on this device, with what a runner has to know of it."""
    told = dict(entrant["manifest"])
    signature = told.pop("signature")
    specs = {
        kind: tuple(TensorSpec(one["name"], tuple(one["shape"]), one["dtype"]) for one in signature[kind])
        for kind in (field.name for field in fields(Signature))
    }
    return Artifact(Path(entrant["path"]), Manifest(signature=Signature(**specs), **told))


def serve(requests: IO[bytes], replies: IO[bytes]) -> None:
    """Answer until the requests end."""

    def progress(task: str, done: int, total: int | None) -> None:
        send(replies, json.dumps({"progress": [task, done, total]}), ())

    agent = Agent(progress)
    while True:
        try:
            text, arrays = receive(requests)
        except EOFError:
            return
        call = json.loads(text)
        try:
            value, results = getattr(agent, call["name"])(*arrays, **call["options"])
        except Exception as error:  # whatever a runtime raises is told to those who asked
            send(replies, json.dumps({"error": _told(error)}), ())
        else:
            send(replies, json.dumps({"value": value}), results)


def _told(error: Exception) -> dict[str, str]:
    if isinstance(error, EdgepressError):
        return {"kind": type(error).__name__, "what": error.what, "where": error.where, "hint": error.hint}
    return {"kind": "", "what": f"{type(error).__name__}: {error}", "where": "", "hint": ""}


def main() -> None:
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    replies.write(READY)
    replies.flush()
    try:
        serve(sys.stdin.buffer, replies)
    except BrokenPipeError:
        sys.exit(1)  # nobody listens any more
