"""Whether a guest finds the processor that it is told: a runtime that does not would die of an unknown instruction."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path

from edgepress.emulation._profile import Profile
from edgepress.emulation._userland import Userland
from edgepress.errors import DeviceFailed
from edgepress.isolation import run

GUEST_PROGRAM = Path(__file__).with_name("guest.py")

GUEST_SECONDS = 120
"""A guest's Python starts in half a second; a busy machine takes many times that."""


@lru_cache
def check(userland: Userland, profile: Profile) -> None:
    """Start the guest and compare its HWCAP and its /proc/cpuinfo with the profile; once a process.

    Raises DeviceFailed where they differ, or the guest does not start.
    """
    program = (*userland.prefix(profile), userland.python(profile), "-I", str(GUEST_PROGRAM))
    done = run(program, userland.folder, seconds=GUEST_SECONDS)
    where, hint = str(userland.folder), "delete that folder, then edgepress devices setup qemu"
    if not done.succeeded:
        raise DeviceFailed(
            f"The emulated {profile.name} does not start: {done.said}.", where=where, hint=hint
        )
    told = json.loads(done.output)
    expected = {
        "hwcap": profile.hwcap,
        "features": " ".join(profile.features),
        "part": f"{profile.part:#x}",
    }
    if told != expected:
        raise DeviceFailed(
            f"The emulated {profile.name} is not what its profile says: {told}, not {expected}.",
            where=where,
            hint=hint,
        )
