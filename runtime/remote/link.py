"""Our side of the agent: starts it on a device, calls it, and says what became of it."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from edgepress import errors, native
from edgepress.artifact import Artifact
from edgepress.devices import CANNOT_EXECUTE, NOT_FOUND, Answer, Launcher
from edgepress.errors import BackendMissing, DeviceFailed, EdgepressError
from edgepress.files import sha256
from edgepress.isolation import described, end, last_line
from edgepress.machine import processor_name
from edgepress.progress import Progress, silent
from edgepress.runtime._target import Target
from edgepress.runtime.remote.bundle import bundle
from edgepress.runtime.remote.start import NO_NUMPY
from edgepress.serving import READY, receive, send

SILENCE_SECONDS = 600.0
"""An agent that says nothing for so long will not any more: the slowest single step, a large float network that is
emulated, takes a few minutes."""

ENDING_SECONDS = 10.0
"""What a process that has closed its output, or whose input was closed, takes to end."""

MOST_GREETING_LINES, MOST_LINE_BYTES = 1000, 1 << 16
"""More than any message of the day has."""

KILLED = 128
"""What a shell adds to the number of the signal that ended a program."""

NATIVE = "ncnn_native"
"""The name of the runner that the native program is."""

OF_MACHINE = ("processor", "system", "virtual_machine", "governor", "clock_mhz", "temperature_c", "throttled")
"""The fields of a Machine that an Environment has too."""

ELSEWHERE = "another runner (TARGET#RUNNER), or the same file here: edgepress verify"
"""The way out where a runtime on the device fails in a way of its own."""

SHELL = '"$@"; exit $?'
"""Between us and the agent: it turns the end by a signal into an exit code, which every transport passes on."""


@dataclass(frozen=True)
class Facts:
    """What a device says of itself: the fields of an Environment of edgepress.benchmarks, and the runners that it has.
    Where `emulated`, it has no time of its own."""

    environment: Mapping[str, Any]
    runners: tuple[str, ...]
    emulated: bool


class Link:
    """An agent on the target's device, from entering the `with` to leaving it; where `native`, the native runner.

    Raises DeviceFailed where the device or the way to it fails, BackendMissing where something is missing there, and
    what the called method raises there.
    """

    def __init__(self, target: Target, *, native: bool = False) -> None:
        self.target, self.native = target, native
        self._silent = False

    def __enter__(self) -> Link:
        with ExitStack() as stack:
            launcher = self.target.device.launcher()
            self.transport = stack.enter_context(self.target.device.transport())
            self.python = self.target.python or launcher.python
            agent = self._native(launcher) if self.native else self._agent()
            self._errors = stack.enter_context(tempfile.TemporaryFile())
            program = ["sh", "-c", SHELL, "sh", *launcher.command(*agent)]
            self._process = self.transport.start(program, self._errors)
            stack.callback(self._end)
            self._await()
            told, _ = self.call("hello")
            self.facts = self._facts(told, launcher)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            end(self._process)  # in the middle of a call it would not see that its input has ended
        self._stack.close()

    def _agent(self) -> tuple[str, ...]:
        return (self.python, "-B", self._placed(bundle(), bundle().name))

    def _native(self, launcher: Launcher) -> tuple[str, ...]:
        """The program for the device's processor, which needs nothing there."""
        processor = launcher.processor or self.transport.check(["uname", "-m"]).decode().strip()
        program = native.require(processor)
        path = self._placed(program, f"{sha256(program)}.native")
        self.transport.check(["chmod", "755", path])
        return (path,)

    def _facts(self, told: Mapping[str, Any], launcher: Launcher) -> Facts:
        """What the agent says itself; of the native runner, which knows little, what the device's files say."""
        if not self.native:
            return Facts(told["environment"], tuple(told["runners"]), launcher.emulated)
        environment = {
            "machine": told["machine"],
            "processor": processor_name(told["cpuinfo"]),
            "usable_cores": told["cores"],
            "memory_mb": told["memory_mb"],
            "system": told["kernel"],
            "python": "",
            "packages": {"ncnn": told["ncnn"]},
        }
        if not launcher.emulated:
            machine = self.transport.facts()
            environment |= {name: getattr(machine, name) for name in OF_MACHINE}
        return Facts(environment, (NATIVE,), launcher.emulated)

    def call(
        self, name: str, *arrays: np.ndarray, progress: Progress = silent, **options: Any
    ) -> tuple[Any, tuple[np.ndarray, ...]]:
        """The answer of the agent's method of this name."""
        assert self._process.stdin is not None, "it was started with a pipe"
        with self._limited():
            try:
                send(self._process.stdin, json.dumps({"name": name, "options": options}), arrays)
            except OSError:
                raise self._ended() from None
        while True:
            answer, results = self._receive()
            if "error" in answer:
                raise self._raised(answer["error"])
            if "progress" not in answer:
                return answer["value"], tuple(results)
            progress(*answer["progress"])

    def place(self, artifact: Artifact) -> str:
        """The artifact's path on the device, where it is copied to unless it lies there."""
        return self._placed(artifact.path, f"{artifact.manifest.sha256}.{artifact.format}")

    def _placed(self, source: Path, name: str) -> str:
        """A file of ours on the device: its name says its content, so one that is there is the one."""
        path = str(self.transport.cache() / name)
        if self.transport.run(["test", "-f", path]).code:
            self.transport.push(source, path)
        return path

    def _await(self) -> None:
        """Read past what shells print as they start, to the agent's first line."""
        assert self._process.stdout is not None, "it was started with a pipe"
        with self._limited():
            for _ in range(MOST_GREETING_LINES):
                line = self._process.stdout.readline(MOST_LINE_BYTES)
                if line.endswith(READY):
                    return
                if not line:
                    raise self._ended()
        end(self._process)
        raise DeviceFailed(
            "The answer on the device did not come from the edgepress agent.",
            where=f"{self.target.place}: {self.python}",
            hint="check that this interpreter is Python",
        )

    def _receive(self) -> tuple[Any, list[np.ndarray]]:
        assert self._process.stdout is not None, "it was started with a pipe"
        with self._limited():
            try:
                text, results = receive(self._process.stdout)
                return json.loads(text), results
            except (OSError, EOFError, ValueError, KeyError):
                raise self._ended() from None

    @contextmanager
    def _limited(self) -> Iterator[None]:
        """Ends the agent, and so the reading and writing of its pipes, when it takes too long."""
        timer = threading.Timer(SILENCE_SECONDS, self._fall_silent)
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _fall_silent(self) -> None:
        self._silent = True
        end(self._process)

    def _ended(self) -> EdgepressError:
        """Why there is no answer. What still runs there says nothing that we understand, and is ended."""
        try:
            code = self._process.wait(ENDING_SECONDS)
        except subprocess.TimeoutExpired:
            end(self._process)
            code = 0
        self._errors.seek(0)
        said = self._errors.read().decode(errors="replace")
        if self._silent:
            return DeviceFailed(
                f"The device sent nothing for {SILENCE_SECONDS:g} s.",
                where=self.target.place,
                hint="check that it is on and reachable; the same command with --resume continues",
            )
        if failure := self.transport.lost(code, said):
            return failure
        said = self.transport.said(said)
        if code == NO_NUMPY:
            return BackendMissing(
                "The device has no NumPy.",
                where=f"{self.target.place}: {self.python}",
                hint=f"{self.python} -m pip install numpy, on the device; "
                "or edgepress devices add NAME TARGET --python PATH, with an interpreter that has it",
            )
        if code in (CANNOT_EXECUTE, NOT_FOUND):
            return self.transport.failure(Answer(code, b"", said), self.python)
        return self._died(code, said)

    def _died(self, code: int, said: str) -> DeviceFailed:
        try:
            name = signal.Signals(code - KILLED).name
        except ValueError:
            return DeviceFailed(
                f"The agent on the device ended: {last_line(said, described(code))}.",
                where=self.target.place,
                hint="edgepress devices show NAME lists what the device has; the same command with --resume continues",
            )
        short = "a smaller network or batch, if its memory ran out; "
        return DeviceFailed(
            f"The agent on the device was killed ({name}).",
            where=self.target.place,
            hint=f"{short if name == 'SIGKILL' else ''}{ELSEWHERE}",
        )

    def _raised(self, told: dict[str, str]) -> EdgepressError:
        """The error as the agent raised it; DeviceFailed for what it does not know either."""
        kind = getattr(errors, told["kind"], None)
        where = ": ".join(filter(None, (self.target.place, told["where"])))
        if kind is None or kind is errors.UnknownName:
            return DeviceFailed(
                f"The runtime on the device failed: {told['what']}.",
                where=where,
                hint=ELSEWHERE,
            )
        error = kind(told["what"], where=where, hint=told["hint"])
        assert isinstance(error, EdgepressError), "the agent tells the names of our errors"
        return error

    def _end(self) -> None:
        """Close its input, at which it ends by itself; else end it."""
        assert self._process.stdin is not None, "it was started with a pipe"
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(ENDING_SECONDS)
        end(self._process)
        assert self._process.stdout is not None, "as above"
        self._process.stdout.close()
