"""A real sshd: what goes there and back, what is refused, and what happens when the link is cut."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import debian_programs
import nearby
import pytest
import real_sshd
from waiting import wait_for

from edgepress.devices import Transport
from edgepress.devices.ssh import Ssh
from edgepress.errors import DeviceFailed


@pytest.fixture(scope="module")
def board(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[real_sshd.Board]:
    fetch = debian_programs.may_fetch(request.config)
    made = real_sshd.board(tmp_path_factory.mktemp("board"), fetch=fetch)
    with made.on_path():
        yield made


@pytest.fixture
def device(board: real_sshd.Board) -> Iterator[Transport]:
    with Ssh(real_sshd.NAME).transport() as transport:
        yield transport


def test_words_arrive_as_they_are(device: Transport) -> None:
    assert device.check(["printf", "%s|", *nearby.EVIL_NAMES]).decode() == "|".join([*nearby.EVIL_NAMES, ""])
    answer = device.run(["sh", "-c", "cat; echo oops >&2; exit 9"], sent=bytes(range(256)))
    assert (answer.code, answer.output, answer.errors) == (9, bytes(range(256)), "oops\n")


def test_files_of_any_name_go_there_and_back(
    device: Transport, board: real_sshd.Board, tmp_path: Path
) -> None:
    source, back, there = tmp_path / "source", tmp_path / "back", tmp_path / "there"
    source.write_bytes(os.urandom(1 << 20))
    for name in nearby.EVIL_NAMES:
        device.push(source, str(there / name))
        device.pull(str(there / name), back)
        assert back.read_bytes() == source.read_bytes()
    assert {path.name for path in there.iterdir()} == set(nearby.EVIL_NAMES)
    assert not Path("evil").exists()
    assert not (Path.home() / "evil").exists()


def test_what_is_ours_lies_in_the_users_cache_there_and_goes(
    device: Transport, board: real_sshd.Board
) -> None:
    assert Path(device.cache()) == board.there / "edgepress" / "device"
    device.check(["sh", "-c", 'mkdir -p "$1" && touch "$1/file" "$1/../kept"', "sh", str(device.cache())])
    device.clean()
    assert [path.name for path in (board.there / "edgepress").iterdir()] == ["kept"]


def test_facts_are_the_boards(device: Transport) -> None:
    facts = device.facts()
    assert facts.kernel.startswith(os.uname().sysname)
    assert facts.memory_mb is not None


def test_one_connection_carries_all_commands(device: Transport, board: real_sshd.Board) -> None:
    device.check(["true"])
    connections = (board.folder / "pids").read_text()
    for _ in range(3):
        device.check(["true"])
    assert (board.folder / "pids").read_text() == connections


def test_a_host_that_is_not_known_is_not_asked(board: real_sshd.Board) -> None:
    with board.unknown(), pytest.raises(DeviceFailed, match="host key is not known here") as raised:
        _greet()
    assert "compare the fingerprint" in raised.value.hint


def test_a_host_with_another_key_is_refused(board: real_sshd.Board) -> None:
    other = (board.folder / "user_key.pub").read_text()
    with board.unknown(other), pytest.raises(DeviceFailed, match="another host key than before"):
        _greet()


def test_a_device_that_does_not_let_us_in(board: real_sshd.Board) -> None:
    key = board.folder / "user_key.pub"
    kept = key.read_text()
    key.write_text("")
    try:
        with pytest.raises(DeviceFailed, match="does not let us in") as raised:
            _greet()
    finally:
        key.write_text(kept)
    assert "ssh-copy-id board" in raised.value.hint


def test_nothing_that_answers(board: real_sshd.Board) -> None:
    """A port that is taken, and where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with (
            Ssh("127.0.0.1", port=taken.getsockname()[1]).transport() as device,
            pytest.raises(DeviceFailed, match="Nothing answers SSH there"),
        ):
            device.check(["true"])


def test_a_link_that_is_cut_while_a_program_runs(
    device: Transport, board: real_sshd.Board, tmp_path: Path
) -> None:
    started = tmp_path / "started"
    cutter = threading.Thread(target=_once(started.exists, board.cut))
    cutter.start()
    with pytest.raises(DeviceFailed, match="connection was lost") as raised:
        device.check(["sh", "-c", 'touch "$1"; cat; exec sleep 600', "sh", str(started)])
    cutter.join()
    assert "--resume" in raised.value.hint
    assert device.check(["echo", "again"]) == b"again\n"


def test_a_link_that_is_cut_while_a_file_is_copied(
    device: Transport, board: real_sshd.Board, tmp_path: Path
) -> None:
    """The file is so large that some of it is on the way whenever the cut comes."""
    there = tmp_path / "there"
    large = tmp_path / "large"
    large.touch()
    os.truncate(large, 1 << 30)
    cutter = threading.Thread(target=_once(lambda: there.exists() and any(there.iterdir()), board.cut))
    cutter.start()
    with pytest.raises(DeviceFailed):
        device.push(large, str(there / "file"))
    cutter.join()
    wait_for(lambda: not any(there.iterdir()))


def test_a_device_whose_disk_is_full(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if os.geteuid():
        pytest.skip("only root can give a test a small disk")
    folder = tmp_path / "small"
    (folder / "there").mkdir(parents=True)
    made = real_sshd.board(
        folder,
        fetch=debian_programs.may_fetch(request.config),
        mounts=f"mount -t tmpfs -o size=1m none {folder}/there &&",
    )
    big = tmp_path / "big"
    big.write_bytes(bytes(1 << 22))
    with made.on_path(), Ssh(real_sshd.NAME).transport() as device:
        with pytest.raises(DeviceFailed, match="no space left on the device") as raised:
            device.push(big, str(device.cache() / "big"))
        assert device.check(["ls", "-A", str(device.cache())]) == b""
    assert "devices clean ssh://board" in raised.value.hint


def _greet() -> None:
    with Ssh(real_sshd.NAME).transport() as device:
        device.check(["true"])


def _once(state: Callable[[], object], act: Callable[[], None]) -> Callable[[], None]:
    def wait_and_act() -> None:
        wait_for(state)
        act()

    return wait_and_act
