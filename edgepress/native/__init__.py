"""The native runner: one static program that executes .ncnn files on boards and phones without Python.

`edgepress devices setup native` builds it, once, into the cache folder, for ARM64 and x86-64 Linux.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from edgepress.errors import BackendMissing, UnsupportedTarget
from edgepress.made_once import make_once
from edgepress.native import _building
from edgepress.native._building import PROCESSORS, Processor
from edgepress.progress import Progress, silent

__all__ = ["COST", "PROCESSORS", "Processor", "made", "make", "require"]

COST = "about 20 MB on disk, 6 MB to download, two to six minutes of compiling for each processor"


def require(processor: str) -> Path:
    """The program for processors of this name (as `uname -m` has it), made.

    Raises UnsupportedTarget for one that it is not built for, and BackendMissing, with the command that makes it and
    what that costs, where it is not made.
    """
    if processor not in PROCESSORS:
        raise UnsupportedTarget(
            f"The native runner is not built for {processor}.", hint=f"it is for {', '.join(PROCESSORS)}"
        )
    found = _building.program(PROCESSORS[processor])
    if not found.exists():
        raise BackendMissing(
            f"The native runner for {processor} is not built yet.",
            where=str(found),
            hint=f"edgepress devices setup native ({COST})",
        )
    return found


def make(progress: Progress = silent) -> tuple[Path, ...]:
    """Build the program for each processor where it is not there. Raises BackendMissing where a tool or the network is
    missing."""
    for processor in PROCESSORS.values():
        processor.require()
    return tuple(made(processor, progress) for processor in PROCESSORS.values())


def made(processor: Processor, progress: Progress = silent) -> Path:
    """The program for one processor, built unless it is there, with the layers and numbers that it says."""
    library, program = _building.library(processor), _building.program(processor)
    if not program.exists():
        fill = partial(_building.make_library, processor, progress=progress)
        make_once(library, f"ncnn for {processor.name}", library.is_dir, fill)
    fill = partial(_building.make_program, processor)
    make_once(program.parent, f"The native runner for {processor.name}", program.exists, fill)
    return program
