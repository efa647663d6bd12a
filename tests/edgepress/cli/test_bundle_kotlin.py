"""The bundle's example in Kotlin: the compiler takes it, against the signatures that Android and LiteRT document."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from edgepress.cli import _bundle

COMPILER = "kotlinc"
SIGNATURES = Path(__file__).parents[2] / "android"
"""In Java, as the classes themselves are: Kotlin makes properties of their getters. They do nothing."""

pytestmark = pytest.mark.slow


@pytest.fixture
def example(tmp_path: Path) -> Path:
    if not shutil.which(COMPILER):
        pytest.skip(
            f"needs {COMPILER} and Java: npm install kotlin-compiler, and its bin/{COMPILER}, executable, in PATH"
        )
    return Path(shutil.copy(Path(_bundle.__file__).with_name("tflite_Network.kt"), tmp_path / "Network.kt"))


def compiled(example: Path) -> subprocess.CompletedProcess[str]:
    signatures = sorted(SIGNATURES.rglob("*.java"))
    command = [COMPILER, "-Werror", "-d", example.parent / "classes", example, *signatures]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_compiler_takes_it(example: Path) -> None:
    done = compiled(example)
    assert done.returncode == 0, done.stderr
    assert (example.parent / "classes" / "com" / "example" / "network" / "Network.class").exists()


def test_the_signatures_are_looked_at(example: Path) -> None:
    text = example.read_text(encoding="utf-8")
    example.write_text(text.replace("setNumThreads(threads)", 'setNumThreads("two")'), encoding="utf-8")
    done = compiled(example)
    assert done.returncode != 0
    assert "mismatch" in done.stderr, done.stderr
