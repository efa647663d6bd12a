"""What tests of the emulator need: the ARM64 Linux, made, from the user's own cache folder."""

from __future__ import annotations

import pytest

from edgepress import emulation
from edgepress.errors import EdgepressError


def made() -> emulation.Userland:
    """The Linux, or a skip that says how to get it."""
    try:
        return emulation.require()
    except EdgepressError as error:
        pytest.skip(f"{error.what} {error.hint}")
