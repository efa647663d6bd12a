"""The zip file that runs on devices: what is in it, and which Pythons it runs on."""

from __future__ import annotations

import ast
import builtins
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import nearby
import numpy as np
import pytest
import tiny_networks

from edgepress import benchmarks, convert, runtime
from edgepress.benchmarks import Protocol
from edgepress.errors import DeviceFailed
from edgepress.runtime import Target
from edgepress.runtime.remote import Link, bundle, portable_runners

OLDEST = (3, 9)
MOST_BYTES = 200_000
"""Half a second over a line of 4 Mbit/s."""


@pytest.fixture(scope="module")
def file() -> Path:
    return bundle.bundle()


def test_holds_the_portable_runners_and_little_else(file: Path) -> None:
    names = set(zipfile.ZipFile(file).namelist())
    assert {f"edgepress/runtime/on_{name}.py" for name in portable_runners()} <= names
    assert "edgepress/runtime/on_torch.py" not in names
    assert not [name for name in names if "/convert/" in name or "/compress/" in name or "/cli/" in name]
    assert file.stat().st_size < MOST_BYTES


def test_is_the_same_file_each_time(file: Path) -> None:
    bundle.bundle.cache_clear()
    assert bundle.bundle().name == file.name


def test_its_syntax_is_that_of_python_3_9(file: Path) -> None:
    with zipfile.ZipFile(file) as archive:
        for name in archive.namelist():
            ast.parse(archive.read(name), name, feature_version=OLDEST)


def test_no_type_is_joined_to_another_where_python_3_9_would_evaluate_it(file: Path) -> None:
    """Annotations are not evaluated; `Number = int | float` is, and fails there."""
    with zipfile.ZipFile(file) as archive:
        for name in archive.namelist():
            for node in _evaluated(ast.parse(archive.read(name))):
                joined = isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr)
                assert not (joined and _is_type(node.left) and _is_type(node.right)), (
                    f"{name}:{node.lineno}: typing.Union in place of |"
                )


def _evaluated(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node that is executed: all but annotations."""
    for name, value in ast.iter_fields(tree):
        if name in ("annotation", "returns"):
            continue
        for node in value if isinstance(value, list) else [value]:
            if isinstance(node, ast.AST):
                yield node
                yield from _evaluated(node)


def _is_type(node: ast.AST) -> bool:
    """By its looks: a name with a capital, one of Python's own, None, or one with brackets behind it."""
    if isinstance(node, ast.Subscript):
        return _is_type(node.value)
    if isinstance(node, ast.BinOp):
        return _is_type(node.left)
    if isinstance(node, ast.Constant):
        return node.value is None
    name = node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
    return (name[:1].isupper() and not name.isupper()) or isinstance(getattr(builtins, name, None), type)


def test_what_completes_python_3_9_does_as_3_10(file: Path) -> None:
    """Run with the completion, whatever this Python is."""
    code = """
import sys; sys.path.insert(0, sys.argv[1])
import dataclasses, itertools, python_3_9
python_3_9.complete()
@dataclasses.dataclass(frozen=True, kw_only=True)
class Point:
    x: int = 1
    y: int
assert Point(y=2) == Point(x=1, y=2)
@dataclasses.dataclass(frozen=True, kw_only=True)
class Named(Point):
    name: str
    z: int = 3
assert Named(name="a", y=2) == Named(x=1, y=2, name="a", z=3)
try: Named(y=2)
except TypeError as error: assert "name" in str(error)
else: raise AssertionError("name was not given")
assert list(itertools.pairwise("abc")) == [("a", "b"), ("b", "c")]
assert list(zip("ab", "cd", strict=True)) == [("a", "c"), ("b", "d")] and list(zip("ab", "c")) == [("a", "c")]
try: list(zip("ab", "c", strict=True))
except ValueError: print("refused")
import edgepress.benchmarks._agent
"""
    done = subprocess.run([sys.executable, "-c", code, file], capture_output=True, text=True, check=True)
    assert done.stdout == "refused\n"


@pytest.mark.parametrize("version", ["2.7", "3.7", "3.8"])
def test_an_older_python_says_that_it_is_too_old(version: str) -> None:
    with pytest.raises(DeviceFailed, match=f"this is Python {version}, and edgepress needs 3.9 or newer"):
        Link(Target(nearby.Nearby(_python(version)))).__enter__()


@pytest.mark.slow
def test_runs_a_network_on_python_3_9(tmp_path: Path) -> None:
    """With the newest NumPy and ONNX Runtime that there are for it."""
    folder = tmp_path / "environment"
    subprocess.run([_python("3.9"), "-m", "venv", folder], check=True)
    pip = [folder / "bin" / "pip", "install", "--quiet", "numpy", "onnxruntime"]
    if subprocess.run(pip, capture_output=True, check=False).returncode:
        pytest.skip("pip reaches no index here")
    program = tiny_networks.capture(tiny_networks.Residual)
    artifact = convert.to(program, "onnx", tmp_path / "model.onnx")
    target = Target(nearby.Nearby(str(folder / "bin" / "python")))
    inputs = program.signature.example(3)
    with runtime.open(artifact, target) as runner:
        # Other kernels add in another order.
        np.testing.assert_allclose(runner.run(*inputs)[0], program.run(*inputs)[0], rtol=1e-4, atol=1e-5)
    protocol = Protocol(rounds=2, min_runs=4, min_seconds=0)
    (measured,) = benchmarks.compare([runtime.open(artifact, target)], protocol)
    assert measured.environment.python.startswith("3.9.")
    assert len(measured.latency_ms) == 4


def _python(version: str) -> str:
    """An interpreter of this version: one of pyenv's, or on the path."""
    found = [*Path.home().glob(f".pyenv/versions/{version}.*/bin/python"), shutil.which(f"python{version}")]
    for python in filter(None, found):
        if not subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode:
            return str(python)
    pytest.skip(f"there is no Python {version} on this machine")
