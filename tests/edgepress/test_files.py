"""Writing whole files or none."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

import pytest

from edgepress.errors import BadInput
from edgepress.files import existing_file, replacing, sha256, write_bytes, write_text


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def fail() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_folders_are_made_and_modes_are_usual(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "c.bin"
    write_bytes(path, b"x")
    write_bytes(path, b"y")
    mask = os.umask(0)
    os.umask(mask)
    assert path.read_bytes() == b"y"
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~mask


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match=r"Cannot write b\.txt"):
        write_text(tmp_path / "file" / "b.txt", "x")


def test_hash_and_existence(tmp_path: Path) -> None:
    content = os.urandom((1 << 20) + 7)
    (tmp_path / "a").write_bytes(content)
    assert sha256(tmp_path / "a") == hashlib.sha256(content).hexdigest()
    assert existing_file(tmp_path / "a", "model") == tmp_path / "a"
    (tmp_path / "empty").touch()
    for name, said in (("none", "does not exist"), (".", "is a folder"), ("empty", "is empty")):
        with pytest.raises(BadInput, match=f"The model .* {said}"):
            existing_file(tmp_path / name, "model")
