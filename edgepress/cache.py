"""Where edgepress keeps what it can make again: $EDGEPRESS_CACHE, else $XDG_CACHE_HOME/edgepress, else
~/.cache/edgepress. Anything in it may be deleted at any time."""

from __future__ import annotations

import os
from pathlib import Path

CACHE_VARIABLE = "EDGEPRESS_CACHE"


def cache_folder(kind: str) -> Path:
    """The folder for things of this kind, made or not yet."""
    if named := os.environ.get(CACHE_VARIABLE):
        return Path(named) / kind
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "edgepress" / kind
