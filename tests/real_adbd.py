"""A real adbd behind the real adb, in a network of their own: it lets anybody in, so nobody else may reach it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import debian_programs
import nearby
import pytest

PORT = 6001
SERIAL = f"127.0.0.1:{PORT}"
DEADLINE_SECONDS = 60

ANDROID = ("android-libbase", "android-libcutils", "android-liblog", "android-libziparchive")
PACKAGES = {
    "bookworm-backports": ("adbd", "adb", *ANDROID),
    "bookworm": ("android-libboringssl", "libprotobuf32", "libusb-1.0-0"),
}

ROOT = """set -e
mount -t tmpfs none {root}
for place in /*; do
    if [ -L "$place" ]; then cp -P "$place" {root}/; elif [ -d "$place" ]; then mkdir {root}"$place"; mount --rbind "$place" {root}"$place"; fi
done
mkdir -p {root}/data/local/tmp
mount --bind {there} {root}/data/local/tmp
exec chroot {root} env ADBD_PORT={port} LD_LIBRARY_PATH={libraries} {adbd}
"""
"""This machine's files, and a place at which Android lets adb write."""


@dataclass
class Phone:
    """`there` is its /data/local/tmp. It is on from `start` to `cut`."""

    folder: Path
    programs: Path
    network: subprocess.Popen[bytes]
    daemon: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def there(self) -> Path:
        return self.folder / "there"

    def start(self) -> None:
        """Switch it on, and wait until adb has it."""
        adbd = self.programs / "usr/lib/android-sdk/platform-tools/adbd"
        text = ROOT.format(
            root=self.folder / "root",
            there=self.there,
            port=PORT,
            libraries=_libraries(self.programs),
            adbd=adbd,
        )
        nearby.script(self.folder / "start", text)
        command = [
            "nsenter",
            f"--net=/proc/{self.network.pid}/ns/net",
            "unshare",
            "--mount",
            self.folder / "start",
        ]
        with (self.folder / "log").open("ab") as log:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        self.daemon.append(process)
        deadline = time.monotonic() + DEADLINE_SECONDS
        while self.adb("-s", SERIAL, "shell", "echo", "here").stdout != b"here\n":
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.skip(f"adbd does not run here: {(self.folder / 'log').read_text()}")
            self.adb("connect", SERIAL)

    def cut(self) -> None:
        """Switch it off, with all that runs on it."""
        for process in self.daemon:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self.daemon.clear()

    def adb(self, *words: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run([self.folder / "bin" / "adb", *words], capture_output=True, check=False)


@contextlib.contextmanager
def phone(folder: Path, *, fetch: bool) -> Iterator[Phone]:
    """Switched on, with its adb first in PATH. Skips the test where it cannot be."""
    if os.geteuid() or shutil.which("unshare") is None or shutil.which("nsenter") is None:
        pytest.skip("a network of its own takes root, unshare and nsenter")
    programs = debian_programs.unpacked("adb", PACKAGES, fetch=fetch)
    network = subprocess.Popen(["unshare", "--net", "sh", "-c", "ip link set lo up && exec sleep infinity"])
    for name in ("bin", "there", "root", "home"):
        (folder / name).mkdir()
    adb = programs / "usr/lib/android-sdk/platform-tools/adb"
    inside = f"nsenter --net=/proc/{network.pid}/ns/net env HOME={folder}/home LD_LIBRARY_PATH={_libraries(programs)}"
    nearby.script(folder / "bin" / "adb", f'exec {inside} {adb} "$@"')
    made = Phone(folder, programs, network)
    try:
        made.start()
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PATH", f"{folder / 'bin'}:{os.environ['PATH']}")
            yield made
    finally:
        made.adb("kill-server")
        made.cut()
        network.kill()
        network.wait()


def _libraries(programs: Path) -> str:
    libraries = programs / "usr/lib/x86_64-linux-gnu"
    return f"{libraries / 'android'}:{libraries}"
