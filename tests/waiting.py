"""Waiting for a state, never for a time."""

from __future__ import annotations

import time
from collections.abc import Callable

DEADLINE_SECONDS = 60
"""How long a state is waited for that comes within a second on an idle machine."""


def wait_for(state: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not state():
        assert time.monotonic() < deadline, "the state does not come"
        time.sleep(0.01)
