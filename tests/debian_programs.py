"""Programs for tests that need a real counterpart: Debian's packages, unpacked once in the cache, not installed."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from edgepress.cache import cache_folder
from edgepress.debian import Debian
from edgepress.errors import BackendMissing
from edgepress.made_once import make_once

FOLDER = cache_folder("test-programs")
"""Read before any test sets a cache of its own."""


def may_fetch(config: pytest.Config) -> bool:
    """Whether this run takes slow tests as well: the default one uses no network."""
    return "not slow" not in config.getoption("markexpr")


def unpacked(name: str, packages: Mapping[str, Sequence[str]], *, fetch: bool) -> Path:
    """The folder with these packages, by their release. Skips the test where it is not there and may not, or cannot,
    be fetched."""
    folder = FOLDER / name
    if not folder.is_dir() and not fetch:
        pytest.skip(f"{name} is not on this machine; the slow tests fetch it")

    def fill(unfinished: Path) -> None:
        for release, wanted in packages.items():
            debian = Debian("amd64", unfinished / "scratch", release)
            for package in wanted:
                debian.unpack_alone(package, unfinished)
        shutil.rmtree(unfinished / "scratch")

    return made(folder, name, fill)


def made(folder: Path, name: str, make: Callable[[Path], None]) -> Path:
    """The folder, made where it is not there. Skips the test where that cannot be."""
    try:
        make_once(folder, name, folder.is_dir, make)
    except BackendMissing as error:
        pytest.skip(str(error))
    return folder
