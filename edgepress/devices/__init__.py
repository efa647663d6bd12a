"""Devices: how they are written, reached and told apart. A kind of device is one file here.

`cpu`, `cuda:0`, `ssh://user@host[:port]`, `adb:SERIAL`, `qemu:PROFILE`, or a name that the user gave one.
"""

from __future__ import annotations

from edgepress import plugins
from edgepress.devices._device import Device
from edgepress.devices._launcher import Launcher
from edgepress.devices._names import Named, add, named, remove
from edgepress.devices._transport import CANNOT_EXECUTE, NOT_FOUND, Answer, Transport

__all__ = [
    "CANNOT_EXECUTE",
    "NOT_FOUND",
    "Answer",
    "Device",
    "Launcher",
    "Named",
    "Transport",
    "add",
    "find",
    "kinds",
    "named",
    "parse",
    "remove",
]


def kinds() -> tuple[str, ...]:
    """Every kind of device there is."""
    return plugins.names(__name__)


def find(kind: str) -> type[Device]:
    """The class of the devices of this kind; UnknownName otherwise."""
    found: type[Device] = plugins.only_class(plugins.load(__name__, kind, kind="target"), Device)
    return found


def parse(text: str) -> Device:
    """The device that is written so; UnknownName for a kind that there is not, BadOption for one that cannot be."""
    kind, _, location = text.partition(":")
    return find(kind).parse(location)
