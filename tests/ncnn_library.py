"""ncnn as a C++ application has it: its headers and its library, built once in the cache from the source that the native
runner is made of, with the layers that the tests' networks need."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from debian_programs import FOLDER, made

from edgepress.isolation import run
from edgepress.native import _source

LAYERS = {
    *("input", "split", "packing", "cast", "quantize", "dequantize", "requantize", "flatten", "reshape"),
    *("convolution", "convolutiondepthwise", "innerproduct", "gemm", "padding", "pooling", "reduction"),
    *("binaryop", "unaryop", "eltwise", "relu", "clip", "concat", "softmax"),
}
PROCESSOR = ("RUNTIME_CPU", "AVX", "AVX2", "AVX512", "XOP", "F16C", "FMA", "BF16")
"""Kernels for newer processors: most of the time that building takes."""
LONGEST_SECONDS = 3600.0
OTHERS = ("VULKAN", "BUILD_TOOLS", "BUILD_EXAMPLES", "BUILD_BENCHMARK", "BUILD_TESTS", "PIXEL")


def installed() -> Path:
    """The folder with include/ncnn and lib. Skips the test where it cannot be made."""
    folder = FOLDER / f"ncnn-{_source.VERSION}"
    if missing := [tool for tool in ("cmake", "make", "g++") if shutil.which(tool) is None]:
        pytest.skip(f"needs {', '.join(missing)}")
    return made(folder, "ncnn", _build)


def _build(folder: Path) -> None:
    scratch = folder / "scratch"
    scratch.mkdir(parents=True)
    source = _source.unpack(scratch)
    settings = {
        "CMAKE_BUILD_TYPE": "Release",
        "CMAKE_INSTALL_PREFIX": str(folder),
        **{f"NCNN_{name}": "OFF" for name in (*PROCESSOR, *OTHERS)},
        **{f"WITH_LAYER_{name}": "ON" if name in LAYERS else "OFF" for name in _layers(source)},
    }
    words = [f"-D{name}={value}" for name, value in settings.items()]
    binary = scratch / "build"
    for command in (
        ["cmake", "-G", "Unix Makefiles", "-S", source, "-B", binary, *words],
        ["cmake", "--build", binary, "--parallel", str(os.cpu_count() or 1)],
        ["cmake", "--install", binary],
    ):
        done = run(command, scratch, seconds=LONGEST_SECONDS)
        assert done.succeeded, done.said
    shutil.rmtree(scratch)


def _layers(source: Path) -> list[str]:
    """Every layer that ncnn has."""
    lines = (source / "src" / "CMakeLists.txt").read_text().splitlines()
    begin = "ncnn_add_layer("
    return [
        line.removeprefix(begin).rstrip(")").split()[0].lower() for line in lines if line.startswith(begin)
    ]
