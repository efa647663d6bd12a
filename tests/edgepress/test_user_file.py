from __future__ import annotations

import sys
from pathlib import Path

import pytest

from edgepress import user_file
from edgepress.errors import BadInput, UnknownName, UsageError


def written(folder: Path, text: str, name: str = "code.py") -> Path:
    file = folder / name
    file.write_text(text)
    return file


def test_function_is_found_and_may_use_its_neighbours(tmp_path: Path) -> None:
    written(tmp_path, "ANSWER = 42\n", "beside.py")
    file = written(tmp_path, "from dataclasses import dataclass\n@dataclass\nclass A:\n    x: int = 1\n"
                   "def f():\n    import beside\n    return beside.ANSWER\n")  # fmt: skip
    path = list(sys.path)
    assert user_file.call(user_file.find_function(f"{file}:f"), file) == 42
    assert sys.path == path


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("x = 1\nraise KeyError('lost')\n", "code.py:2: raise KeyError('lost')"),
        ("import sys\n\nsys.exit('stop')\n", "code.py:3: sys.exit('stop')"),
        ("import nothing_of_this_name\n", "code.py:1: import nothing_of_this_name"),
        ("def f(:\n", "code.py:1: def f(:"),
        ("import json\njson.loads('{')\n", "code.py:2: json.loads('{')"),
    ],
)
def test_file_that_fails_shows_the_users_line(text: str, line: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput) as caught:
        user_file.find_function(f"{written(tmp_path, text)}:f")
    assert line in caught.value.where


def test_errors_of_our_own_pass_through(tmp_path: Path) -> None:
    file = written(
        tmp_path, "from edgepress.errors import UsageError\ndef f():\n    raise UsageError('mine')\n"
    )
    with pytest.raises(UsageError, match="mine"):
        user_file.call(user_file.find_function(f"{file}:f"), file)


def test_names_that_lead_nowhere(tmp_path: Path) -> None:
    file = written(tmp_path, "def build(): ...\n")
    with pytest.raises(UnknownName, match="Did you mean 'build'"):
        user_file.find_function(f"{file}:biuld")
    with pytest.raises(BadInput, match="No function is named"):
        user_file.find_function(f"{file}:")
    with pytest.raises(BadInput, match="does not exist"):
        user_file.find_function(f"{tmp_path}/other.py:f")
