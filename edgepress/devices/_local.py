"""This machine, reached as any device is: for programs that an emulator runs here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

from edgepress.cache import cache_folder
from edgepress.devices._transport import Transport


class LocalTransport(Transport):
    """Programs run in processes of their own."""

    def command(self, program: Sequence[str]) -> list[str]:
        return list(program)

    def cache(self) -> PurePosixPath:
        return PurePosixPath(cache_folder("device").absolute())
