"""A place where artifacts run, without the runtime that runs them there."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from typing import ClassVar

from edgepress.devices._launcher import Launcher
from edgepress.devices._local import LocalTransport
from edgepress.devices._transport import Transport
from edgepress.errors import UnsupportedTarget
from edgepress.progress import Progress, silent


class Device(ABC):
    """A kind of device is one file of this folder, named like the word that its texts begin with, with one frozen
    dataclass. Two that are equal are one device.

    Where `here`, our own process runs artifacts on it; elsewhere an agent of ours does, started by the `launcher` over
    the `transport`.
    """

    here: ClassVar[bool] = False
    syntax: ClassVar[str] = "any"
    """How it is written, for messages: `ssh://[USER@]HOST[:PORT]`; here, what a Runner says that executes on all kinds."""

    @classmethod
    @abstractmethod
    def parse(cls, location: str) -> Device:
        """The device of what follows `<kind>:` in its text; BadOption where it cannot be."""

    @abstractmethod
    def __str__(self) -> str:
        """The text that `parse` takes, with its kind."""

    @classmethod
    def setup(cls, progress: Progress = silent) -> None:
        """Make on this machine what devices of this kind need of it; UnsupportedTarget where that is nothing."""
        raise UnsupportedTarget(f"{cls.syntax} needs no setup.", hint="edgepress devices show TARGET")

    def transport(self) -> Transport:
        """The way there, not connected yet."""
        return LocalTransport(str(self))

    def launcher(self) -> Launcher:
        """Raises BackendMissing, with the way to get it, where what it takes is not on this machine."""
        return Launcher(python=sys.executable) if self.here else Launcher()
