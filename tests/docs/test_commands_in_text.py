"""Commands within the text of a page, as `pytest -m ncnn`: what they name is there, and the tests they select exist."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import documented
import pytest

ROOT = Path(__file__).parents[2]
if not (ROOT / "docs").is_dir():
    pytest.skip("the documentation is not here", allow_module_level=True)

PAGES = sorted([*(ROOT / "docs").glob("*.md"), *ROOT.glob("*.md")])
CODE = re.compile(r"(?<!`)`((?:edgepress|pytest|python|make)\s[^`]+)`(?!`)")
MADE = re.compile(r"^    make ([a-z-]+)", re.MULTILINE)


def commands(program: str) -> list[list[str]]:
    """The arguments of each command in the text that starts this program."""
    texts = [text for page in PAGES for text in CODE.findall(page.read_text(encoding="utf-8"))]
    words = {tuple(shlex.split(text)) for text in texts}
    return [list(arguments) for name, *arguments in sorted(words) if name == program]


def test_edgepress_takes_them() -> None:
    """One without arguments is only named."""
    found = commands("edgepress")
    assert ["devices", "setup", "qemu"] in found
    for words in found:
        _, arguments = documented.find(words)
        if arguments:
            documented.parse(words)


def test_make_has_them() -> None:
    listed = {name for page in PAGES for name in MADE.findall(page.read_text(encoding="utf-8"))}
    rules = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert "base-test" in listed
    assert listed | {name for name, *_ in commands("make")} <= set(rules)


def test_scripts_and_tests_are_there() -> None:
    found = [*commands("python"), *commands("pytest")]
    paths = [word for arguments in found for word in arguments if "/" in word]
    assert len(paths) >= 12
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_markers_are_declared() -> None:
    declared = {marker.partition(":")[0] for marker in _pytest_options()["markers"]}
    asked = [arguments[arguments.index("-m") + 1] for arguments in commands("pytest") if "-m" in arguments]
    assert {"ncnn", "not gpu"} <= set(asked)
    assert {word for text in asked for word in re.findall(r"\w+", text)} - {"not", "or", "and"} <= declared


def _pytest_options() -> dict[str, Any]:
    tomllib = pytest.importorskip("tomllib", reason="comes with Python 3.11")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    options: dict[str, Any] = project["tool"]["pytest"]["ini_options"]
    return options


@pytest.mark.slow
def test_scripts_have_the_options() -> None:
    for script, *arguments in commands("python"):
        options = {word for word in arguments if word.startswith("--")}
        if options:
            told = run(script, "--help")
            assert told.returncode == 0, told.stderr
            assert options <= set(re.findall(r"--[\w-]+", told.stdout)), script


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments", [words for words in commands("pytest") if "/" in "".join(words)], ids=shlex.join
)
def test_pytest_selects_tests(arguments: list[str]) -> None:
    """It ends with 5 where it selects none. Those of all folders are left out: to collect them all takes a minute."""
    collected = run("-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *arguments)
    assert collected.returncode == 0, collected.stdout[-2000:]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
