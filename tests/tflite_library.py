"""TensorFlow Lite as a C++ application has it: the headers and the library of its C interface, unpacked once in the
cache from the npm package that carries them, built."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import tarfile
from pathlib import Path

import pytest
from debian_programs import FOLDER, made

from edgepress.errors import BackendMissing
from edgepress.isolation import run

PACKAGE = "tfjs-tflite-node"
VERSION = "0.0.2"
SHA256 = "3be1632328a76a2475e5b6833253763c802c859433becb4d879ee1860e3b5284"
"""Of the package: what is linked and executed is what was looked at when this was written."""

BUILDS = {"x86_64": "linux_amd64", "aarch64": "linux_arm64"}
SECONDS = 120.0


def installed() -> Path:
    """The folder with include and lib. Skips the test where it cannot be had."""
    if shutil.which("npm") is None:
        pytest.skip("needs npm")
    if platform.machine() not in BUILDS:
        pytest.skip(f"{PACKAGE} has no library for {platform.machine()}")
    folder = FOLDER / f"{PACKAGE}-{VERSION}"
    return made(folder, "TensorFlow Lite's C library", _unpack)


def _unpack(folder: Path) -> None:
    folder.mkdir(parents=True)
    words = ["npm", "pack", "--ignore-scripts", "--silent", f"{PACKAGE}@{VERSION}"]
    done = run(words, folder, seconds=SECONDS, environment=os.environ)
    if not done.succeeded:
        raise BackendMissing(f"{PACKAGE} cannot be had: {done.said}.", hint="it needs npm's registry")
    packed = folder / f"{PACKAGE}-{VERSION}.tgz"
    assert hashlib.sha256(packed.read_bytes()).hexdigest() == SHA256, "another package than was published"
    with tarfile.open(packed) as archive:
        archive.extractall(folder)  # what bears this hash leads nowhere out of the folder
    built = folder / "package" / "cc_deps"
    (built / "include").rename(folder / "include")
    (built / BUILDS[platform.machine()]).rename(folder / "lib")
    shutil.rmtree(folder / "package")
    packed.unlink()
