"""Runs tools of others in a process of their own: one that crashes, hangs or calls home does so alone.

A tool sees a clean environment: the folder that it runs in is its home, no variable of the user's but a few
reaches it, pip installs nothing, and the usual HTTP libraries find no network.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

LONGEST_SECONDS = 1800
"""What converters that take minutes finish in, even on a busy machine."""

MOST_OUTPUT_BYTES = 1 << 16
"""The end of a tool's output that is kept: its last words, and the counts that it prints."""

KEPT = ("PATH", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "OMP_NUM_THREADS")
"""The variables that a tool shares with us: where programs, temporary files and libraries are, and threads."""

NOWHERE = "http://127.0.0.1:9"
"""The discard port: a proxy that refuses at once."""

OFFLINE = {
    "PIP_NO_INDEX": "1",
    **dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), NOWHERE),
}


@dataclass(frozen=True)
class Finished:
    """How a tool's process ended. `ended` is "exit code 3", "signal 11 (SIGSEGV)" or what kept it from ending."""

    succeeded: bool
    output: str
    ended: str

    @property
    def said(self) -> str:
        """The last line of the output and how it ended, for an error's message."""
        return last_line(self.output, self.ended)


def clean_environment(home: Path) -> dict[str, str]:
    """The variables of a tool's process that has its home in this folder."""
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    return {**kept, **OFFLINE, "HOME": str(home)}


def run(
    command: Sequence[str | Path],
    folder: Path,
    *,
    seconds: float = LONGEST_SECONDS,
    environment: Mapping[str, str] | None = None,
) -> Finished:
    """Run a tool in `folder` to its end, at most so long; nothing that it started lives on.

    environment: in place of the clean one, for what must reach the network.
    """
    given = clean_environment(folder) if environment is None else environment
    with tempfile.TemporaryFile() as output:
        try:
            process = subprocess.Popen(
                command,
                cwd=folder,
                env=given,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            return Finished(False, "", f"it does not start ({error.strerror})")
        try:
            ended = described(process.wait(seconds))
        except subprocess.TimeoutExpired:
            ended = f"it took more than {seconds:g} s"
        finally:
            end(process)
        output.seek(max(0, output.seek(0, os.SEEK_END) - MOST_OUTPUT_BYTES))
        text = output.read().decode(errors="replace")
    return Finished(ended == described(0), text, ended)


def run_script(
    script: Path,
    *arguments: str | Path,
    folder: Path,
    python: Path | None = None,
    seconds: float = LONGEST_SECONDS,
) -> Finished:
    """Run a Python file that imports a tool, with our own interpreter or an isolated environment's."""
    return run([python or sys.executable, "-I", script, *arguments], folder, seconds=seconds)


def last_line(output: str, ended: str) -> str:
    """The last words of a process, and how it ended."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return f"{lines[-1]} ({ended})" if lines else ended


def described(code: int) -> str:
    """A process's return code in words."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {-code} ({signal.Signals(-code).name})"
    except ValueError:
        return f"signal {-code}"


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill the process and all that it started; its session is its own."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
