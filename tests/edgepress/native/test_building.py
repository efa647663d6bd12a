"""The native runner: what stops its making, and how its errors are said."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from edgepress import native
from edgepress.errors import BackendMissing, UnsupportedTarget
from edgepress.native import _source


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder in which nothing is made."""
    monkeypatch.setenv("EDGEPRESS_CACHE", str(tmp_path))
    return tmp_path


def test_what_is_not_built_says_how_to_build_it(empty: Path) -> None:
    with pytest.raises(BackendMissing, match="not built yet") as raised:
        native.require("aarch64")
    assert raised.value.hint == f"edgepress devices setup native ({native.COST})"


def test_a_processor_that_it_is_not_for_is_told_those_that_it_is_for(empty: Path) -> None:
    with pytest.raises(UnsupportedTarget, match="riscv64") as raised:
        native.require("riscv64")
    assert "aarch64, x86_64" in raised.value.hint


@pytest.mark.parametrize(
    ("tool", "package"), [("aarch64-linux-gnu-g++", "g++-aarch64-linux-gnu"), ("cmake", "cmake")]
)
def test_a_missing_tool_is_named_before_anything_is_fetched(
    empty: Path, monkeypatch: pytest.MonkeyPatch, tool: str, package: str
) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None if name == tool else f"/usr/bin/{name}")
    with pytest.raises(BackendMissing, match="cannot be built on this machine") as raised:
        native.make()
    assert raised.value.where == f"missing: {tool}"
    assert raised.value.hint == f"apt install {package}"
    assert not list(empty.iterdir())


def test_a_source_that_is_not_the_published_one_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("urllib.request.urlopen", lambda *_, **__: io.BytesIO(b"something else"))
    with pytest.raises(BackendMissing, match="is not the published source"):
        _source.unpack(tmp_path)
    assert not list(tmp_path.iterdir())


def test_no_network_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("Network is unreachable")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    with pytest.raises(BackendMissing, match="Network is unreachable") as raised:
        _source.unpack(tmp_path)
    assert "https_proxy" in raised.value.hint
