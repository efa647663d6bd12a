"""A tool's process: its crash is told, its time is limited, its environment is clean."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from edgepress.isolation import run, run_script


def script(folder: Path, text: str) -> Path:
    path = folder / "tool.py"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("ending", "said"),
    [
        ("import ctypes; ctypes.string_at(0)", "last words (signal 11 (SIGSEGV))"),
        ("import os; os.abort()", "last words (signal 6 (SIGABRT))"),
        ("raise SystemExit(3)", "last words (exit code 3)"),
    ],
)
def test_a_crash_is_told_with_the_last_words(ending: str, said: str, tmp_path: Path) -> None:
    done = run_script(script(tmp_path, f"print('first\\nlast words', flush=True)\n{ending}"), folder=tmp_path)
    assert not done.succeeded
    assert done.said == said
    assert done.output.startswith("first\n")


def test_what_ends_well_has_its_output(tmp_path: Path) -> None:
    done = run_script(script(tmp_path, "import sys\nprint(sys.argv[1:])"), "a", Path("b"), folder=tmp_path)
    assert done.succeeded
    assert done.output == "['a', 'b']\n"


def test_only_the_end_of_much_output_is_kept(tmp_path: Path) -> None:
    done = run_script(script(tmp_path, "print('x' * (1 << 20))\nprint('the end')"), folder=tmp_path)
    assert len(done.output) == 1 << 16
    assert done.said == "the end (exit code 0)"


def test_what_takes_too_long_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    started = time.monotonic()
    done = run(["sh", "-c", "(sleep 1.5; touch late) & sleep 60"], tmp_path, seconds=0.5)
    assert not done.succeeded
    assert done.said == "it took more than 0.5 s"
    assert time.monotonic() - started < 10  # not the 60 s of the command
    time.sleep(max(0.0, 2.0 - (time.monotonic() - started)))
    assert not (tmp_path / "late").exists()


def test_what_does_not_start_is_told(tmp_path: Path) -> None:
    assert run([tmp_path / "absent"], tmp_path).said == "it does not start (No such file or directory)"


def test_the_environment_is_clean_and_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("A_SECRET", "of the user")
    (tmp_path / "numpy.py").write_text("raise SystemExit('the user's folder was searched')")
    text = "import json, os, numpy\nprint(json.dumps(dict(os.environ)))"
    done = run_script(script(tmp_path, text), folder=tmp_path)
    assert done.succeeded, done.said
    assert "A_SECRET" not in done.output
    assert "PYTHONPATH" not in done.output
    assert '"PIP_NO_INDEX": "1"' in done.output
    assert f'"HOME": "{tmp_path}"' in done.output
    assert os.environ["HOME"] != str(tmp_path)


def test_pip_finds_no_index(tmp_path: Path) -> None:
    done = run([sys.executable, "-m", "pip", "download", "six"], tmp_path)
    assert not done.succeeded
    assert not list(tmp_path.glob("six*"))
