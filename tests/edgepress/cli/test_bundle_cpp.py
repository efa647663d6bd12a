"""The bundle's examples in C++: a compiler takes them, and linked with the library they give the samples' scores."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import ncnn_library
import numpy as np
import pytest
import tiny_networks

from edgepress import convert
from edgepress.cli import run

COMPILER = "g++"
WANTS = {
    "ncnn": ("net.h", ("-lncnn", "-fopenmp")),
    "tflite": ("tensorflow/lite/c/c_api.h", ("-ltensorflowlite_c",)),
}
"""The header that each example includes, and what it is linked with."""

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Example:
    """A bundle's folder, and what the compiler has to be told to find the runtime."""

    folder: Path
    places: tuple[str, ...]

    def compiled(self, *words: str) -> subprocess.CompletedProcess[str]:
        return compiled(self.folder, *self.places, *words)


@pytest.fixture(params=[pytest.param(name, marks=getattr(pytest.mark, name)) for name in WANTS])
def example(request: pytest.FixtureRequest, tmp_path: Path) -> Example:
    """Skipped without a compiler, or where it finds no header of the runtime. ncnn is built, where it is not found."""
    format = request.param
    header, _ = WANTS[format]
    if not shutil.which(COMPILER):
        pytest.skip(f"needs {COMPILER}")
    places: tuple[str, ...] = ()
    if compiled(tmp_path, "-E", "-include", header, "-x", "c++", "/dev/null", "-o", "/dev/null").returncode:
        if format != "ncnn":
            pytest.skip(f"{COMPILER} finds no {header}: put the folder that holds it into CPLUS_INCLUDE_PATH")
        ncnn = ncnn_library.installed()
        places = (f"-I{ncnn}/include/ncnn", f"-L{ncnn}/lib")
    program = tiny_networks.capture(tiny_networks.Residual)
    artifact = convert.to(program, format, tmp_path / f"network.{format}")
    assert run(["bundle", str(artifact.path), "-o", str(tmp_path / format)]) == 0
    return Example(tmp_path / format, places)


def compiled(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [COMPILER, "-std=c++17", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_the_compiler_takes_it(example: Example) -> None:
    done = example.compiled("-fsyntax-only", "-Wall", "-Werror", "main.cpp")
    assert done.returncode == 0, done.stderr


def test_it_gives_the_first_samples_scores(example: Example) -> None:
    bundle = example.folder
    _, libraries = WANTS[bundle.name]
    linked = example.compiled("-O2", "main.cpp", "-o", "main", *libraries)
    if f"cannot find {libraries[0]}" in linked.stderr:
        pytest.skip(f"{COMPILER} finds no library for {libraries[0]}: put its folder into LIBRARY_PATH")
    assert linked.returncode == 0, linked.stderr
    shape = json.loads((bundle / "manifest.json").read_text())["signature"]["inputs"][0]["shape"]
    sizes = [str(shape[axis]) for axis in (3, 2, 1)] if bundle.name == "ncnn" else []
    done = subprocess.run(
        ["./main", *sizes, "sample0.f32"], cwd=bundle, capture_output=True, text=True, check=True
    )
    with np.load(bundle / "samples.npz") as samples:
        scores = samples["output0"][0]
    shown = [line.split() for line in done.stdout.splitlines()]
    assert [int(place) for _, place in shown] == list(np.argsort(-scores))
    # Four decimals are printed.
    assert [float(score) for score, _ in shown] == pytest.approx(-np.sort(-scores), abs=1e-4)
