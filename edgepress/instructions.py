"""How many instructions this thread has executed, where it is emulated and the emulator counts: the guest's side of
emulation/instructions.c."""

from __future__ import annotations

import ctypes
import os
import struct

from edgepress.errors import DeviceFailed

MARKER = 0x51454D55
"""What the emulator's plugin knows the question by; the kernel knows no such value, and does nothing."""

COUNT = struct.Struct("=Q")


class InstructionCounter:
    """The plugin writes the count into a pipe of ours. DeviceFailed where nobody counts."""

    def __init__(self) -> None:
        self._reading, self._writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._call = ctypes.CDLL(None).getpriority
        self.read()

    def read(self) -> int:
        """The count of the calling thread so far."""
        self._call(MARKER, self._writing)
        try:
            count: int = COUNT.unpack(os.read(self._reading, COUNT.size))[0]
        except BlockingIOError:
            raise DeviceFailed(
                "Instructions cannot be counted on this device.",
                hint="edgepress devices setup qemu sets up an emulator that counts them",
            ) from None
        return count

    def close(self) -> None:
        os.close(self._reading)
        os.close(self._writing)
