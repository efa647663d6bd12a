"""The emulated ARM64 Linux: what it is made of, what stops it, and that its guests find the processor they are told."""

from __future__ import annotations

import dataclasses
import json
import platform
import subprocess
from pathlib import Path

import pytest
from emulated import made

from edgepress import debian, emulation
from edgepress.devices import parse
from edgepress.emulation import PROFILES
from edgepress.errors import BackendMissing, BadOption, DeviceFailed, UnsupportedTarget

COUNTING = """
import ctypes, json, os, struct
reading, writing = os.pipe2(os.O_NONBLOCK)
call = ctypes.CDLL(None).getpriority
def count():
    call(0x51454D55, writing)
    return struct.unpack("=Q", os.read(reading, 8))[0]
counts = []
for size in (10_000, 10_000, 20_000):
    before = count()
    sum(range(size))
    counts.append(count() - before)
print(json.dumps(counts))
"""
"""A guest that counts how many instructions a sum takes, twice the same and one of twice the length."""


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder in which nothing is made, on the machine that can make it."""
    monkeypatch.setenv("EDGEPRESS_CACHE", str(tmp_path))
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    return tmp_path


def test_what_is_not_made_says_how_to_make_it(empty: Path) -> None:
    with pytest.raises(BackendMissing, match="not set up yet") as raised:
        parse("qemu:cortex-a76").launcher()
    assert raised.value.hint == f"edgepress devices setup qemu ({emulation.COST})"
    assert not list(empty.iterdir())


def test_another_machine_is_told_what_can_emulate(empty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    with pytest.raises(UnsupportedTarget, match="not by Linux on arm64"):
        emulation.make()


@pytest.mark.parametrize(("program", "package"), [("gcc", "gcc"), ("apt-get", "apt"), ("dpkg-deb", "dpkg")])
def test_a_missing_program_is_named_with_its_package(
    empty: Path, monkeypatch: pytest.MonkeyPatch, program: str, package: str
) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None if name == program else f"/usr/bin/{name}")
    monkeypatch.setattr("edgepress.emulation._making._compile_counter", lambda library: None)
    with pytest.raises(BackendMissing) as raised:
        emulation.make()
    assert package in raised.value.hint
    assert [path.suffix for path in (empty / "emulation").glob("*")] in ([], [".lock"])


def test_missing_keys_of_debian_are_named(
    empty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(debian, "KEYRING", tmp_path / "missing.gpg")
    with pytest.raises(BackendMissing) as raised:
        debian.Debian("arm64", tmp_path)
    assert raised.value.hint.startswith("apt install debian-archive-keyring")


def test_an_unknown_processor_names_the_known_ones() -> None:
    with pytest.raises(BadOption, match="'cortex-a77'") as raised:
        parse("qemu:cortex-a77")
    assert "qemu:cortex-a76" in raised.value.hint


def test_a_profile_tells_the_same_thing_in_both_ways() -> None:
    """The bits of HWCAP are the kernel's: dot products are bit 20, half precision is bits 9 and 10."""
    assert PROFILES["cortex-a76"].hwcap & (1 << 20 | 1 << 10 | 1 << 9) == 1 << 20 | 1 << 10 | 1 << 9
    assert not PROFILES["cortex-a72"].hwcap & (1 << 20 | 1 << 10 | 1 << 9)
    for profile in PROFILES.values():
        assert f"Features\t: {' '.join(profile.features)}\n" in profile.cpuinfo
        assert profile.cpuinfo.count("processor\t: ") == 4


@pytest.mark.qemu
@pytest.mark.parametrize("name", PROFILES)
def test_a_guest_finds_the_processor_of_its_profile(name: str) -> None:
    emulation.check(made(), PROFILES[name])


@pytest.mark.qemu
def test_a_processor_that_is_not_what_its_profile_says_is_refused() -> None:
    false = dataclasses.replace(PROFILES["cortex-a72"], features=PROFILES["cortex-a76"].features)
    with pytest.raises(DeviceFailed, match="is not what its profile says"):
        emulation.check(made(), false)


@pytest.mark.qemu
def test_instructions_are_counted_exactly() -> None:
    """Python's own bookkeeping is the little that differs between two equal sums."""
    launcher = (made().prefix(PROFILES["cortex-a72"]), made().python(PROFILES["cortex-a72"]))
    done = subprocess.run([*launcher[0], launcher[1], "-I", "-c", COUNTING], capture_output=True, check=True)
    first, second, double = json.loads(done.stdout)
    assert abs(first - second) <= 0.005 * first
    assert abs(double - 2 * second) <= 0.02 * double
