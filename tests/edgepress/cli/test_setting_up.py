"""devices setup: what it makes is asked for with its command, and what is missing for making it has its exit code."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from edgepress.cli import run

USAGE, UNSUPPORTED, MISSING = 2, 3, 6


@pytest.fixture(autouse=True)
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine that could make everything, had it any program, with an empty cache."""
    monkeypatch.setenv("EDGEPRESS_CACHE", str(tmp_path))
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    monkeypatch.setattr("shutil.which", lambda name: None)
    return tmp_path


@pytest.mark.parametrize(
    ("kind", "install"),
    [("qemu", "apt install gcc"), ("native", "apt install g++-aarch64-linux-gnu cmake make")],
)
def test_a_machine_without_compilers_is_told_what_to_install(
    kind: str, install: str, bare: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["devices", "setup", kind]) == MISSING
    assert install in capsys.readouterr().err
    assert not list(bare.iterdir())


def test_another_machine_than_the_emulator_is_for(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    assert run(["devices", "setup", "qemu"]) == UNSUPPORTED
    assert "Linux on arm64" in capsys.readouterr().err


def test_what_needs_nothing_and_what_there_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["devices", "setup", "cpu"]) == UNSUPPORTED
    assert run(["devices", "setup", "nonsense"]) == USAGE
    assert "nonsense" in capsys.readouterr().err
