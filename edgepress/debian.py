"""Packages of Debian, unpacked into a folder: nothing is installed, and no right of the administrator is needed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from edgepress.errors import BackendMissing
from edgepress.isolation import run

RELEASE = "bookworm"
"""The release whose qemu still takes plugins: newer ones link it statically, which leaves them out."""

MIRROR = "http://deb.debian.org/debian"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
"""Debian's keys, by which apt checks every list and so every package: the mirror need not be trusted."""

NEEDS = {"apt-get": "apt", "dpkg-deb": "dpkg"}
"""The programs used here, and the packages that have them."""

SETTINGS = """
Dir::State "{state}";
Dir::State::status "{state}/status";
Dir::Cache "{cache}";
Dir::Etc::sourcelist "{sources}";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
APT::Architecture "{architecture}";
APT::Architectures "{architecture}";
APT::Sandbox::User "";
APT::Install-Recommends "false";
Acquire::Languages "none";
"""
"""An apt with a state of its own, in which nothing is installed: so it fetches all that a package depends on."""


class Debian:
    """Debian's packages for one architecture. `scratch` is a folder for what is fetched; it may be deleted afterwards."""

    def __init__(self, architecture: str, scratch: Path, release: str = RELEASE) -> None:
        self.scratch = scratch / f"{release}-{architecture}"
        self._require()
        state, cache = self.scratch / "state", self.scratch / "cache"
        for folder in (state / "lists" / "partial", cache / "archives" / "partial"):
            folder.mkdir(parents=True)
        (state / "status").touch()
        sources, self._settings = self.scratch / "sources.list", self.scratch / "apt.conf"
        sources.write_text(f"deb [signed-by={KEYRING}] {MIRROR} {release} main\n")
        self._settings.write_text(
            SETTINGS.format(state=state, cache=cache, sources=sources, architecture=architecture)
        )
        self._run("apt-get", "--quiet", "update", "--error-on=any")

    def unpack(self, packages: Sequence[str], folder: Path) -> None:
        """The packages, with all that they depend on."""
        self._run("apt-get", "--quiet", "--yes", "--download-only", "install", *packages)
        self._unpack(self.scratch / "cache" / "archives", folder)

    def unpack_alone(self, package: str, folder: Path) -> None:
        """The package without what it depends on."""
        alone = self.scratch / package
        alone.mkdir()
        self._run("apt-get", "--quiet", "download", package, folder=alone)
        self._unpack(alone, folder)

    def _unpack(self, archives: Path, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for archive in sorted(archives.glob("*.deb")):
            self._run("dpkg-deb", "--extract", archive, folder)

    def _run(self, *command: str | Path, folder: Path | None = None) -> None:
        environment: Mapping[str, str] = {**os.environ, "APT_CONFIG": str(self._settings), "LC_ALL": "C"}
        done = run(command, folder or self.scratch, environment=environment)
        if not done.succeeded:
            raise BackendMissing(
                f"Debian packages cannot be downloaded: {done.said}.",
                where=" ".join(str(word) for word in command),
                hint=f"this needs network access: {MIRROR}, directly or by the proxy in http_proxy",
            )

    @staticmethod
    def _require() -> None:
        missing = [package for program, package in NEEDS.items() if shutil.which(program) is None]
        if not KEYRING.exists():
            missing.append("debian-archive-keyring")
        if missing:
            raise BackendMissing(
                "Debian packages cannot be unpacked on this machine.",
                where=f"missing: {', '.join(missing)}",
                hint=f"apt install {' '.join(missing)} (on Debian, Ubuntu or their like)",
            )
