"""Virtual environments of tools: whole or not at all."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from pathlib import Path

import pytest

from edgepress import environments
from edgepress.environments import IsolatedEnvironment
from edgepress.errors import BackendMissing, UnknownName
from edgepress.isolation import run


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGEPRESS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "environments"


def wheel(folder: Path) -> Path:
    """A package `answering` of one line, which pip installs without an index."""
    path = folder / "answering-1.0-py3-none-any.whl"
    about = "answering-1.0.dist-info"
    members = {
        "answering.py": "ANSWER = 42\n",
        f"{about}/METADATA": "Metadata-Version: 2.1\nName: answering\nVersion: 1.0\n",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    with zipfile.ZipFile(path, "w") as joined:
        record = []
        for name, text in members.items():
            joined.writestr(name, text)
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
            record.append(f"{name},sha256={digest},{len(text)}\n")
        joined.writestr(f"{about}/RECORD", "".join(record) + f"{about}/RECORD,,\n")
    return path


def test_is_made_once_and_runs(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    tool = IsolatedEnvironment(name="tool", requirements=(str(wheel(tmp_path)),), cost="a second")
    with pytest.raises(BackendMissing, match="not set up yet") as raised:
        tool.require()
    assert raised.value.hint == "edgepress doctor --make tool (a second)"
    leftover = tool.folder.with_suffix(".unfinished")
    (leftover / "half").mkdir(parents=True)  # of a run that was killed
    tool.make()
    tool.require()
    assert not leftover.exists()
    done = run([tool.python, "-c", "import answering; print(answering.ANSWER)"], tmp_path)
    assert done.output == "42\n"
    made = tool.python.lstat().st_mtime_ns
    tool.make()
    assert tool.python.lstat().st_mtime_ns == made


def test_a_failure_leaves_nothing(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    tool = IsolatedEnvironment(name="tool", requirements=("edgepress-absent==1",), cost="700 MB, 5 minutes")
    with pytest.raises(BackendMissing, match="cannot be made.*edgepress-absent") as raised:
        tool.make()
    assert "700 MB, 5 minutes" in raised.value.hint
    assert not tool.is_made()
    assert [path.suffix for path in cache.iterdir()] == [".lock"]


def test_other_requirements_are_another_environment() -> None:
    one, other = (
        IsolatedEnvironment(name="tool", requirements=(text,), cost="") for text in ("six==1.16", "six==1.17")
    )
    assert one.folder != other.folder


def test_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("EDGEPRESS_CACHE", str(tmp_path / "file"))
    tool = IsolatedEnvironment(name="tool", requirements=("six",), cost="")
    with pytest.raises(BackendMissing, match="Not a directory") as raised:
        tool.make()
    assert "EDGEPRESS_CACHE" in raised.value.hint


def test_an_unknown_environment_is_named() -> None:
    with pytest.raises(UnknownName, match="isolated environment"):
        environments.find("nothing")
