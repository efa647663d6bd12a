"""A device that is this very machine, reached as any other: with an interpreter, a cache and a launcher of its own."""

from __future__ import annotations

import os
import shlex
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

from edgepress.devices import Device, Launcher

EVIL_NAMES = (
    "a b", "'; touch evil; '", '"$(touch evil)"', "`touch evil`", "-rf", "line\nbreak", "$HOME", "*", "é", "\\",
)  # fmt: skip
"""Words that are more than words to a shell that is given them as they are."""


@dataclass(frozen=True)
class Nearby(Device):
    python: str = sys.executable
    emulated: bool = False

    syntax: ClassVar[str] = "nearby"

    @classmethod
    def parse(cls, location: str) -> Nearby:
        return cls(location)

    def __str__(self) -> str:
        return f"nearby:{self.python}"

    def launcher(self) -> Launcher:
        return Launcher(python=self.python, emulated=self.emulated)


def bare_python(folder: Path, *packages: str) -> str:
    """An interpreter that finds the standard library and these packages, and no others."""
    site = folder / "site"
    site.mkdir()
    for package in packages:
        spec = find_spec(package)
        assert spec is not None
        assert spec.origin is not None
        source = Path(spec.origin).parent
        for part in (source, source.with_name(f"{package}.libs")):
            if part.exists():
                (site / package).with_name(part.name).symlink_to(part)
    return script(folder / "python", f'PYTHONPATH={shlex.quote(str(site))} exec {sys.executable} -S "$@"')


def script(path: Path, text: str) -> str:
    """A program in a file of a shell."""
    path.write_text(f"#!/bin/sh\n{text}\n")
    os.chmod(path, 0o755)
    return str(path)


def foreign_program(path: Path) -> str:
    """This machine's `true`, said to be for a processor of 1990: the ELF header alone decides."""
    content = bytearray(Path("/bin/true").read_bytes())
    content[18:20] = (15).to_bytes(2, "little")
    path.write_bytes(content)
    path.chmod(0o755)
    return str(path)
