"""The bundle's examples in C++: a compiler takes them, and linked with the library they give the samples' scores."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import ncnn_library
import numpy as np
import pytest
import tflite_library
import tiny_networks
import torch
from torch import nn

from edgepress import compress, convert, models
from edgepress.cli import run
from edgepress.compress.quantize_static import QuantizeStatic
from edgepress.program import Program
from edgepress.recipe import Recipe
from edgepress.runtime import compare

COMPILER = "g++"
CLASSES = 5
"""As many as the examples show."""


@dataclass(frozen=True)
class Runtime:
    """A runtime in C++: the header that its example includes, what is linked, and where the two are if the compiler
    does not find them by itself, as options of it."""

    header: str
    libraries: tuple[str, ...]
    places: Callable[[], tuple[str, ...]]


def ncnn_places() -> tuple[str, ...]:
    folder = ncnn_library.installed()
    return f"-I{folder}/include/ncnn", f"-L{folder}/lib"


def tflite_places() -> tuple[str, ...]:
    folder = tflite_library.installed()
    return f"-I{folder}/include", f"-L{folder}/lib", f"-Wl,-rpath,{folder}/lib"


RUNTIMES = {
    "ncnn": Runtime("net.h", ("-lncnn", "-fopenmp"), ncnn_places),
    "tflite": Runtime("tensorflow/lite/c/c_api.h", ("-ltensorflowlite_c",), tflite_places),
}

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Example:
    """A bundle's folder, its format, and what the compiler has to be told to find the runtime."""

    folder: Path
    format: str
    places: tuple[str, ...]

    def compiled(self, *words: str) -> subprocess.CompletedProcess[str]:
        return compiled(self.folder, *self.places, *words)

    def link(self) -> None:
        libraries = RUNTIMES[self.format].libraries
        linked = self.compiled("-O2", "main.cpp", "-o", "main", *libraries)
        if f"cannot find {libraries[0]}" in linked.stderr:
            pytest.skip(f"{COMPILER} finds no library for {libraries[0]}: put its folder into LIBRARY_PATH")
        assert linked.returncode == 0, linked.stderr

    def executed(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["./main", *words], cwd=self.folder, capture_output=True, text=True, check=False
        )


def squeezenet() -> Program:
    return models.load("squeezenet1_1", input_shape=(3, 64, 64), options={"classes": CLASSES})


def residual() -> Program:
    return tiny_networks.capture(tiny_networks.Residual)


def convolutional() -> Program:
    """In int8 without linear layers."""
    torch.manual_seed(0)
    layers = [
        nn.Conv2d(3, 16, 3, 2),
        nn.ReLU(),
        nn.Conv2d(16, CLASSES, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    ]
    return quantized(Program.capture(nn.Sequential(*layers), (torch.zeros(2, 3, 16, 16),)))


def quantized(program: Program) -> Program:
    return compress.apply(program, Recipe((QuantizeStatic(samples=64),)), tiny_networks.Patches(64))


@pytest.fixture(
    params=[
        pytest.param(("ncnn", residual, {}), marks=pytest.mark.ncnn, id="ncnn"),
        pytest.param(("tflite", residual, {}), marks=pytest.mark.tflite, id="tflite"),
        pytest.param(("tflite", squeezenet, {}), marks=pytest.mark.tflite, id="tflite-squeezenet"),
        pytest.param(("tflite", convolutional, {}), marks=pytest.mark.tflite, id="tflite-int8"),
        pytest.param(
            ("tflite", convolutional, {"io": "int8"}), marks=pytest.mark.tflite, id="tflite-io-int8"
        ),
    ]
)
def example(request: pytest.FixtureRequest, tmp_path: Path) -> Example:
    format, network, options = request.param
    return bundled(network(), format, options, tmp_path)


def bundled(program: Program, format: str, options: dict[str, str], folder: Path) -> Example:
    """Skipped without a compiler, or where a runtime that it does not find cannot be had."""
    if not shutil.which(COMPILER):
        pytest.skip(f"needs {COMPILER}")
    runtime = RUNTIMES[format]
    missing = compiled(folder, "-E", "-include", runtime.header, "-x", "c++", "/dev/null", "-o", "/dev/null")
    places = runtime.places() if missing.returncode else ()
    artifact = convert.to(program, format, folder / f"network.{format}", options)
    assert run(["bundle", str(artifact.path), "-o", str(folder / format)]) == 0
    return Example(folder / format, format, places)


def compiled(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [COMPILER, "-std=c++17", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_the_compiler_takes_it(example: Example) -> None:
    done = example.compiled("-fsyntax-only", "-Wall", "-Werror", "main.cpp")
    assert done.returncode == 0, done.stderr


def test_it_gives_the_first_samples_scores(example: Example) -> None:
    bundle = example.folder
    example.link()
    shape = json.loads((bundle / "manifest.json").read_text())["signature"]["inputs"][0]["shape"]
    sizes = [str(shape[axis]) for axis in (3, 2, 1)] if example.format == "ncnn" else []
    done = example.executed(*sizes, "sample0.f32")
    assert done.returncode == 0, done.stderr
    shown = [line.split() for line in done.stdout.splitlines()]
    values = [float(score) for score, _ in shown]
    assert values == sorted(values, reverse=True)
    with np.load(bundle / "samples.npz") as samples:
        expected = samples["output0"][0]
    scores = np.full_like(expected, np.nan)  # each of them is shown: none has more than five classes
    scores[[int(place) for _, place in shown]] = values
    # Four decimals are printed, about 70 dB; and another version of a runtime rounds int8 to the next step in places.
    limit_db = json.loads((bundle / "bundle.json").read_text())["limit_db"]
    assert compare(lambda: (expected,), lambda: (scores,), [()]).sqnr_db >= limit_db


@pytest.mark.tflite
def test_a_library_that_would_misread_a_linear_layer_refuses_it(tmp_path: Path) -> None:
    """TensorFlow Lite 2.9 gives zeros for linear layers with a scale for each channel, unless the file asks for more."""
    example = bundled(quantized(residual()), "tflite", {}, tmp_path)
    if not example.places:
        pytest.skip(f"{COMPILER} finds a library of its own, which may be newer")
    example.link()
    done = example.executed("sample0.f32")
    assert done.returncode == 1
    assert "'FULLY_CONNECTED' version '10'" in done.stderr
