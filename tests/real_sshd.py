"""A real sshd behind the real ssh, with a pipe in place of a network: no port, no daemon, nothing of the user's."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import debian_programs
import nearby
import pytest

NAME = "board"
PACKAGES = {"bookworm": ("openssh-server", "openssh-sftp-server", "libwrap0")}

SERVER = """
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/user_key.pub
StrictModes no
PermitRootLogin yes
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
PidFile none
SetEnv XDG_CACHE_HOME={folder}/there
"""

CLIENT = """
Host {name} other
  HostKeyAlias {name}
  IdentityFile {folder}/user_key
  IdentitiesOnly yes
  UserKnownHostsFile {folder}/known_hosts
  GlobalKnownHostsFile none
  ProxyCommand {folder}/connect
  LogLevel ERROR
"""

AS_ROOT = """exec setsid unshare --mount sh -c '
mount --bind {folder}/passwd /etc/passwd && mount -t tmpfs none /run && mkdir /run/sshd && {mounts} exec {server}'"""
"""As root sshd wants a user of its own and a folder: in a name space of mounts it has both, and nobody else."""

AS_USER = "exec setsid {server}"


@dataclass(frozen=True)
class Board:
    """`folder` holds its keys; `there` what our side leaves on it."""

    folder: Path

    @property
    def there(self) -> Path:
        return self.folder / "there"

    @contextlib.contextmanager
    def on_path(self) -> Iterator[None]:
        """The ssh that knows this board, in place of the user's; no connection is left behind."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PATH", f"{self.folder / 'bin'}:{os.environ['PATH']}")
            try:
                yield
            finally:
                self.cut()

    def cut(self) -> None:
        """End every connection at once, and all that runs behind it."""
        pids = self.folder / "pids"
        for pid in pids.read_text().split() if pids.exists() else ():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(int(pid), signal.SIGKILL)
        pids.unlink(missing_ok=True)

    @contextlib.contextmanager
    def unknown(self, key: str = "") -> Iterator[None]:
        """As if this machine had never seen it, or had seen it with another key."""
        known = self.folder / "known_hosts"
        kept = known.read_text()
        known.write_text(f"{NAME} {key}" if key else "")
        try:
            yield
        finally:
            known.write_text(kept)


def board(folder: Path, *, fetch: bool, mounts: str = "") -> Board:
    """Made in `folder`, whose `bin` has to come first in PATH. `mounts` are shell commands in its name space, each with
    `&&` behind it. Skips the test where there is no sshd."""
    server, libraries = _server(fetch)
    for key in ("host_key", "user_key"):
        _keygen(folder / key)
    (folder / "known_hosts").write_text(f"{NAME} {(folder / 'host_key.pub').read_text()}")
    (folder / "sshd_config").write_text(SERVER.format(folder=folder))
    (folder / "ssh_config").write_text(CLIENT.format(folder=folder, name=NAME))
    passwd = [line for line in Path("/etc/passwd").read_text().splitlines() if not line.startswith("sshd:")]
    (folder / "passwd").write_text("\n".join([*passwd, "sshd:x:74:74::/run/sshd:/usr/sbin/nologin", ""]))
    command = f"env LD_LIBRARY_PATH={libraries} {server} -i -f {folder}/sshd_config -E {folder}/log"
    started = (AS_USER if os.geteuid() else AS_ROOT).format(folder=folder, server=command, mounts=mounts)
    nearby.script(folder / "connect", f"echo $$ >> {folder}/pids\n{started}")
    (folder / "bin").mkdir()
    nearby.script(folder / "bin" / "ssh", f'exec {shutil.which("ssh")} -F {folder}/ssh_config "$@"')
    answer = subprocess.run(
        [folder / "bin" / "ssh", NAME, "echo here"], capture_output=True, text=True, check=False
    )
    if answer.stdout != "here\n":
        pytest.skip(f"sshd does not run here: {answer.stderr} {_log(folder)}")
    return Board(folder)


def _server(fetch: bool) -> tuple[Path, Path]:
    """sshd, and the folder of libraries that it needs besides the system's."""
    if shutil.which("ssh") is None or shutil.which("ssh-keygen") is None:
        pytest.skip("there is no ssh on this machine")
    if Path("/usr/sbin/sshd").exists():
        return Path("/usr/sbin/sshd"), Path("/nowhere")
    folder = debian_programs.unpacked("openssh-server", PACKAGES, fetch=fetch)
    return folder / "usr/sbin/sshd", folder / "usr/lib/x86_64-linux-gnu"


def _keygen(path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", path], check=True)


def _log(folder: Path) -> str:
    log = folder / "log"
    return log.read_text() if log.exists() else ""
