"""A process of a tool's own environment that stays, and is called with arrays over pipes."""

from __future__ import annotations

import contextlib
import select
import subprocess
import tempfile
from pathlib import Path
from typing import IO

import numpy as np

from edgepress import serving
from edgepress.isolation import LONGEST_SECONDS, clean_environment, described, end, last_line


class ToolFailed(Exception):
    """What the tool raised, in one line, or how its process ended."""


class Worker:
    """`script` is as serving.py says; it runs in `folder`, with the interpreter `python`, until `close`.

    Raises ToolFailed when the script's Session cannot be made. A call blocks until it is answered; what takes longer
    than `seconds` is ended.
    """

    def __init__(
        self,
        script: Path,
        *arguments: str | Path,
        python: Path,
        folder: Path,
        seconds: float = LONGEST_SECONDS,
    ) -> None:
        self._seconds = seconds
        self._output = tempfile.TemporaryFile()  # noqa: SIM115  it lives as long as the process
        command = [python, "-I", serving.__file__, script, *arguments]
        try:
            self._process = subprocess.Popen(
                command,
                cwd=folder,
                env=clean_environment(folder),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._output,
                start_new_session=True,
            )
        except OSError as error:
            self._output.close()
            raise ToolFailed(f"it does not start ({error.strerror})") from None
        try:
            self._reply()
        except ToolFailed:
            self.close()
            raise

    def call(self, name: str, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        """What the Session's method of this name returns. Raises ToolFailed when it raises, or the process dies."""
        assert self._process.stdin is not None, "it was made with a pipe"
        try:
            serving.send(self._process.stdin, name, arrays)
        except OSError:
            raise ToolFailed(self._ended()) from None
        return self._reply()

    def close(self) -> None:
        """End the process."""
        end(self._process)
        for stream in (self._process.stdin, self._process.stdout, self._output):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):  # what it did not read any more
                    stream.close()

    def _reply(self) -> tuple[np.ndarray, ...]:
        assert self._process.stdout is not None, "it was made with a pipe"
        self._await(self._process.stdout)
        try:
            error, arrays = serving.receive(self._process.stdout)
        except (OSError, EOFError):
            raise ToolFailed(self._ended()) from None
        if error:
            raise ToolFailed(error)
        return tuple(arrays)

    def _await(self, replies: IO[bytes]) -> None:
        """Until the answer begins, or the process has ended. No timer: it would be part of what a benchmark times."""
        waiting = select.poll()
        waiting.register(replies, select.POLLIN)
        if not waiting.poll(self._seconds * 1000):
            end(self._process)
            raise ToolFailed(f"it took more than {self._seconds:g} s")

    def _ended(self) -> str:
        code = self._process.wait()
        self._output.seek(0)
        return last_line(self._output.read().decode(errors="replace"), described(code))
