"""How a device is reached. One command of this machine runs a command there; files and facts follow from that."""

from __future__ import annotations

import subprocess
import tempfile
import uuid
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import IO

from edgepress.errors import DeviceFailed
from edgepress.files import replacing
from edgepress.isolation import described, end, last_line
from edgepress.machine import FILES, Machine

COMMAND_SECONDS = 60.0
"""What a shell command on a slow board takes, the connection included, with room."""

COPY_SECONDS = 1800.0
"""A file of 200 MB over a line of 1 Mbit/s."""

CANNOT_EXECUTE, NOT_FOUND = 126, 127
"""What every POSIX shell answers for a program that is there and does not run, and for one that is not there."""

PUSH = """
mkdir -p "$(dirname "$1")" && cat > "$1.$2" && test "$(wc -c < "$1.$2")" -eq "$3" && mv "$1.$2" "$1" ||
{ rm -f "$1.$2"; exit 1; }
"""
"""A link that is cut looks like the end of the file: so its size is checked before it takes its name."""

SHOW = 'uname -srm; for f in %s; do [ -r "$f" ] && echo "==> $f" && cat "$f" && echo; done; true'
"""Prints the files that edgepress/machine.py reads, each behind a line with its path."""


@dataclass(frozen=True)
class Answer:
    """How a command ended: its exit code, what it printed, and what it said on its standard error."""

    code: int
    output: bytes
    errors: str

    @property
    def said(self) -> str:
        return last_line(self.errors, described(self.code))


class Transport(ABC):
    """A connection to one device, used in a `with`. `name` is the device's text, for messages.

    Whatever fails on the way is DeviceFailed. Programs are lists of words: none of them is read by a shell as
    anything but the word that it is.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    @abstractmethod
    def command(self, program: Sequence[str]) -> list[str]:
        """The command here that runs `program` there, with its input, output, errors and exit code."""

    @abstractmethod
    def cache(self) -> PurePosixPath:
        """The folder there that is ours alone: `edgepress devices clean` removes it."""

    def lost(self, code: int, errors: str) -> DeviceFailed | None:
        """What went wrong with the connection itself, where exit code and errors say so."""
        return None

    def said(self, errors: str) -> str:
        """What a program said, of all that came on the standard error."""
        return errors

    def close(self) -> None:  # noqa: B027  most have nothing to give back
        """Give back what the connection holds."""

    def __enter__(self) -> Transport:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self, program: Sequence[str], errors: IO[bytes]) -> subprocess.Popen[bytes]:
        """The program, running there, with pipes to its input and output; what it says goes to `errors`."""
        return self._started(program, subprocess.PIPE, subprocess.PIPE, errors)

    def run(self, program: Sequence[str], *, sent: bytes = b"", seconds: float = COMMAND_SECONDS) -> Answer:
        """Run the program to its end. That it fails is for the caller to judge; that it is not reached, or not done
        in time, is DeviceFailed."""
        with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as output:
            given.write(sent)
            given.seek(0)
            code, errors = self._ended(program, given, output, seconds)
            output.seek(0)
            return Answer(code, output.read(), errors)

    def check(self, program: Sequence[str], *, sent: bytes = b"", seconds: float = COMMAND_SECONDS) -> bytes:
        """What the program prints; DeviceFailed where it fails."""
        answer = self.run(program, sent=sent, seconds=seconds)
        if answer.code:
            raise self.failure(answer, program[0])
        return answer.output

    def push(self, source: Path, target: str) -> None:
        """Copy a file of ours to the device, whole or not at all; folders on the way are made."""
        size, unique = source.stat().st_size, uuid.uuid4().hex
        with source.open("rb") as given, tempfile.TemporaryFile() as output:
            program = ["sh", "-c", PUSH, "sh", target, unique, str(size)]
            code, errors = self._ended(program, given, output, COPY_SECONDS)
        if code:
            raise self.failure(Answer(code, b"", errors), target)

    def pull(self, source: str, target: Path) -> None:
        """Copy a file of the device to us, whole or not at all."""
        with replacing(target) as temporary, temporary.open("wb") as output:
            code, errors = self._ended(["cat", source], subprocess.DEVNULL, output, COPY_SECONDS)
            if code:
                raise self.failure(Answer(code, b"", errors), source)

    def facts(self) -> Machine:
        """What the device tells about itself, without any program of ours."""
        printed = self.check(["sh", "-c", SHOW % " ".join(FILES)]).decode(errors="replace")
        kernel, _, rest = printed.partition("\n")
        with tempfile.TemporaryDirectory() as folder:
            for part in rest.split("==> /")[1:]:
                name, _, content = part.partition("\n")
                path = Path(folder, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(content)
            return Machine.read(Path(folder), kernel)

    def clean(self) -> None:
        """Remove what we have put on the device: the folder `cache`, which is ours alone."""
        self.check(["rm", "-rf", "--", str(self.cache())])

    def failure(self, answer: Answer, what: str) -> DeviceFailed:
        """Why a program of the device failed, in our words where they are known."""
        said = answer.errors
        if "No space left" in said:
            return DeviceFailed(
                "There is no space left on the device.",
                where=f"{self.name}: {what}",
                hint=f"edgepress devices clean {self.name} removes what edgepress keeps there",
            )
        if "Exec format error" in said or "cannot execute" in said:
            return DeviceFailed(
                f"{what} was built for a different processor than the device's.",
                where=self.name,
                hint="edgepress devices show names the device's processor; install the program built for it",
            )
        if answer.code == NOT_FOUND:
            return DeviceFailed(
                f"There is no {what}, or what it starts, on the device: {answer.said}.",
                where=self.name,
                hint="install it there, or add the folder that holds it to the PATH of a login without a terminal",
            )
        return DeviceFailed(
            f"{what} failed on the device: {answer.said}.",
            where=self.name,
            hint="see the device's message",
        )

    def _ended(
        self, program: Sequence[str], given: IO[bytes] | int, output: IO[bytes], seconds: float
    ) -> tuple[int, str]:
        """The exit code of the program and its errors, once it has ended."""
        with tempfile.TemporaryFile() as errors:
            process = self._started(program, given, output, errors)
            try:
                code = process.wait(seconds)
            except subprocess.TimeoutExpired:
                raise DeviceFailed(
                    f"The device did not answer within {seconds:g} s.",
                    where=f"{self.name}: {program[0]}",
                    hint="check that it is on and idle; the same command with --resume continues",
                ) from None
            finally:
                end(process)
            errors.seek(0)
            said = errors.read().decode(errors="replace")
        if failure := self.lost(code, said):
            raise failure
        return code, self.said(said)

    def _started(
        self, program: Sequence[str], given: IO[bytes] | int, output: IO[bytes] | int, errors: IO[bytes]
    ) -> subprocess.Popen[bytes]:
        command = self.command(program)
        try:
            return subprocess.Popen(
                command, stdin=given, stdout=output, stderr=errors, start_new_session=True
            )
        except OSError as error:
            raise DeviceFailed(
                f"{command[0]} does not start: {error.strerror}.",
                where=self.name,
                hint=f"install {command[0]}",
            ) from None
