"""The runtimes for ARM64 Linux, as their makers publish them: wheels from pip's index, unpacked into a folder."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from edgepress.errors import BackendMissing
from edgepress.isolation import run

PYTHON = "3.11"
"""The interpreter of the Debian release that the userland is made of."""

PLATFORMS = ("manylinux_2_28", "manylinux_2_27", "manylinux_2_17", "manylinux2014")
"""pip takes these words literally: a wheel for an older C library is only seen when its word is given too."""

RUNTIMES = ("onnxruntime", "ai-edge-litert", "ncnn", "MNN")
"""The runtimes that have ARM64 wheels and need nothing beside NumPy."""

NUMPY = "numpy==2.4.*"
"""The last ones made for this interpreter; arrays are the same bytes whatever NumPy is here."""


def requirements() -> tuple[str, ...]:
    """NumPy, and the runtimes that are installed here, in the versions that are installed here."""
    found = [NUMPY]
    for name in RUNTIMES:
        try:
            found.append(f"{name}=={metadata.version(name)}")
        except metadata.PackageNotFoundError:
            continue
    return tuple(found)


def unpack(requirements: Sequence[str], folder: Path) -> None:
    """The wheels, and nothing that they require."""
    platforms = [word for name in PLATFORMS for word in ("--platform", f"{name}_aarch64")]
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--quiet"]
    wheels = ["--only-binary", ":all:", "--no-deps", "--no-compile", "--implementation", "cp"]
    place = ["--python-version", PYTHON, *platforms, "--target", str(folder)]
    done = run([*pip, *wheels, *place, *requirements], folder.parent, environment=os.environ)
    if not done.succeeded:
        raise BackendMissing(
            f"The ARM64 wheels cannot be downloaded: {done.said}.",
            where=", ".join(requirements),
            hint="this needs pip and access to its index; a package version without an ARM64 wheel has to be replaced first",
        )
