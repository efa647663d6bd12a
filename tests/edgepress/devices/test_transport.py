"""Running programs, copying files and reading facts over the one transport that needs nothing: this machine's."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import nearby
import pytest

from edgepress.devices import Transport
from edgepress.devices._local import LocalTransport
from edgepress.errors import BadInput, DeviceFailed


@pytest.fixture
def device() -> Iterator[Transport]:
    with LocalTransport("here") as transport:
        yield transport


class Cut(LocalTransport):
    """A link that ends in the middle of a file."""

    def command(self, program: Sequence[str]) -> list[str]:
        return ["sh", "-c", 'head -c 10 | "$@"', "sh", *program]


def test_words_arrive_as_they_are(device: Transport) -> None:
    assert device.check(["printf", "%s|", *nearby.EVIL_NAMES]).decode() == "|".join([*nearby.EVIL_NAMES, ""])


def test_an_answer_has_code_output_and_errors(device: Transport) -> None:
    answer = device.run(["sh", "-c", "cat; echo oops >&2; exit 9"], sent=bytes(range(256)))
    assert (answer.code, answer.output, answer.errors) == (9, bytes(range(256)), "oops\n")
    assert answer.said == "oops (exit code 9)"


@pytest.mark.parametrize("name", nearby.EVIL_NAMES)
def test_files_of_any_name_go_there_and_back(device: Transport, tmp_path: Path, name: str) -> None:
    content = os.urandom(1 << 16)
    source, back = tmp_path / "source", tmp_path / "back"
    source.write_bytes(content)
    device.push(source, str(tmp_path / "there" / name))
    assert [path.name for path in (tmp_path / "there").iterdir()] == [name]
    device.pull(str(tmp_path / "there" / name), back)
    assert back.read_bytes() == content
    assert not Path("evil").exists()


def test_a_link_that_is_cut_leaves_nothing_half_written(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "there" / "file"
    source.write_bytes(bytes(100))
    with pytest.raises(DeviceFailed):
        Cut("here").push(source, str(target))
    assert list(target.parent.iterdir()) == []


def test_what_cannot_be_pulled_leaves_the_old_file(device: Transport, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.write_text("old")
    with pytest.raises(DeviceFailed, match="No such file"):
        device.pull(str(tmp_path / "missing"), kept)
    assert kept.read_text() == "old"
    with pytest.raises(BadInput):
        device.pull("/etc/hostname", kept / "below a file")


def test_a_device_without_space_says_so(device: Transport, tmp_path: Path) -> None:
    with pytest.raises(DeviceFailed, match="no space left") as raised:
        device.check(["sh", "-c", "cat /etc/passwd > /dev/full"])
    assert "devices clean here" in raised.value.hint


@pytest.mark.parametrize(
    ("program", "said"),
    [
        (["toaster"], "toaster does not start: No such file"),
        (["sh", "-c", "exec toaster"], "There is no sh, or what it starts, on the device: .*toaster"),
        (["false"], r"false failed on the device: exit code 1\."),
    ],
)
def test_programs_that_fail(device: Transport, program: list[str], said: str) -> None:
    with pytest.raises(DeviceFailed, match=said):
        device.check(program)


def test_a_program_for_another_processor(device: Transport, tmp_path: Path) -> None:
    foreign = nearby.foreign_program(tmp_path / "foreign")
    with pytest.raises(DeviceFailed, match="was built for a different processor"):
        device.check(["sh", "-c", '"$1"', "sh", foreign])


def test_a_device_that_does_not_answer(device: Transport) -> None:
    with pytest.raises(DeviceFailed, match=r"did not answer within 0\.05 s"):
        device.check(["sleep", "60"], seconds=0.05)


def test_facts_are_read_without_any_program_of_ours(device: Transport) -> None:
    facts = device.facts()
    assert facts.kernel.startswith(os.uname().sysname)
    assert facts.cores == len(
        [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("processor")]
    )
    assert facts.memory_mb is not None
    assert facts.memory_mb > 100
