"""A board or server that is reached over SSH, by the ssh of this machine with the user's own settings and keys."""

from __future__ import annotations

import contextlib
import re
import shlex
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import ClassVar

from edgepress.devices._device import Device
from edgepress.devices._transport import Transport
from edgepress.errors import BadOption, DeviceFailed

WRITTEN = re.compile(
    r"(?:(?P<user>\w[\w.-]*)@)?(?P<host>\w[\w.-]*|\[[0-9A-Fa-f:.]+(?:%\w+)?\])(?::(?P<port>\d{1,5}))?",
    re.ASCII,
)
"""Nothing that begins with a dash, which ssh would read as an option, and nothing that a shell reads."""

OPTIONS = {
    "BatchMode": "yes",  # it asks no questions: nobody is there to answer them
    "StrictHostKeyChecking": "yes",
    "ConnectTimeout": "10",
    "ServerAliveInterval": "5",  # a link that says nothing for 3 x 5 s is cut
    "ServerAliveCountMax": "3",
    "ControlMaster": "auto",
    "ControlPersist": "60",
}
"""One connection for all commands; it outlives a killed run by a minute."""

SSH_FAILED = 255
"""The exit code of ssh's own failures."""

HINTS = {
    "REMOTE HOST IDENTIFICATION HAS CHANGED": (
        "The device shows another host key than before: it may be another device.",
        "compare its key with the device's own (ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub there); "
        "if it is right, ssh-keygen -R '{known}'",
    ),
    "Host key verification failed": (
        "The device's host key is not known here.",
        "ssh {way} once by hand, and compare the fingerprint that it shows",
    ),
    "Permission denied": (
        "The device does not let us in.",
        "ssh-copy-id {way}, or an entry in ~/.ssh/config",
    ),
    "Could not resolve hostname": ("There is no host of this name.", "check the name, or give its address"),
    "Connection refused": ("Nothing answers SSH there.", "is sshd running, and is it this port?"),
    "Connection timed out": ("The device does not answer.", "is it switched on, and in this network?"),
    "No route to host": ("There is no way to the device.", "is it switched on, and in this network?"),
}
"""What ssh says, what that means, and what to do."""


@dataclass(frozen=True)
class Ssh(Device):
    """`user` and `port` may be left to the user's ~/.ssh/config, where `host` may be any name of it."""

    host: str
    user: str = ""
    port: int | None = None

    syntax: ClassVar[str] = "ssh://[USER@]HOST[:PORT]"

    @classmethod
    def parse(cls, location: str) -> Ssh:
        found = WRITTEN.fullmatch(location.removeprefix("//")) if location.startswith("//") else None
        port = int(found["port"]) if found and found["port"] else None
        if found is None or port == 0 or (port or 0) > 65535:
            raise BadOption(f"'ssh:{location}' is not an address.", where="target", hint=cls.syntax)
        return cls(found["host"], found["user"] or "", port)

    def __str__(self) -> str:
        return f"ssh://{self.destination}{f':{self.port}' if self.port else ''}"

    @property
    def destination(self) -> str:
        return f"{self.user}@{self.host}" if self.user else self.host

    @property
    def way(self) -> str:
        """The words behind ssh, for a person."""
        return f"-p {self.port} {self.destination}" if self.port else self.destination

    @property
    def known(self) -> str:
        """Its name in the list of known hosts."""
        host = self.host.strip("[]")
        return f"[{host}]:{self.port}" if self.port else host

    def transport(self) -> Transport:
        return SshTransport(self)


class SshTransport(Transport):
    """The first command connects; the others share its connection."""

    def __init__(self, device: Ssh) -> None:
        super().__init__(str(device))
        self.device = device
        self._folder = tempfile.TemporaryDirectory(prefix="edgepress-")
        self._cache: PurePosixPath | None = None

    def command(self, program: Sequence[str]) -> list[str]:
        return [*self._ssh(), "--", self._host, shlex.join(program)]

    def cache(self) -> PurePosixPath:
        """In the user's cache folder there, as its own variables have it."""
        if self._cache is None:
            printed = self.check(["sh", "-c", 'echo; echo "${XDG_CACHE_HOME:-$HOME/.cache}"']).decode()
            self._cache = PurePosixPath(printed.splitlines()[-1], "edgepress", "device")
        return self._cache

    def lost(self, code: int, errors: str) -> DeviceFailed | None:
        if code != SSH_FAILED:
            return None
        for said, (meaning, hint) in HINTS.items():
            if said in errors:
                return DeviceFailed(
                    meaning, where=self.name, hint=hint.format(way=self.device.way, known=self.device.known)
                )
        last = next((line for line in reversed(errors.splitlines()) if line.strip()), "")
        what = f"The connection was lost{f': {last.strip()}' if last else ''}."
        return DeviceFailed(what, where=self.name, hint="check the link, and run again with --resume")

    def close(self) -> None:
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            command = [*self._ssh(), "-O", "exit", "--", self._host]
            subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=10, check=False)
        self._folder.cleanup()

    @property
    def _host(self) -> str:
        return self.device.host.strip("[]")

    def _ssh(self) -> list[str]:
        options = {**OPTIONS, "ControlPath": str(Path(self._folder.name, "c"))}
        if self.device.user:
            options["User"] = self.device.user
        if self.device.port:
            options["Port"] = str(self.device.port)
        return ["ssh", "-T", *(word for key, value in options.items() for word in ("-o", f"{key}={value}"))]
