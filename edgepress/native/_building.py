"""Builds the native runner: ncnn, cut to the layers that networks for pictures have, and our own program, in one static file.

The C library is musl, and ncnn brings the little of C++'s library that it needs: so the file needs
nothing but a Linux kernel, as Android's is one, and is small. Debian's cross compiler makes it; its own libraries go unused.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edgepress.debian import MIRROR, RELEASE, Debian
from edgepress.errors import BackendMissing
from edgepress.isolation import run
from edgepress.made_once import named_after
from edgepress.native import _source
from edgepress.progress import Progress, track

SOURCES = tuple(Path(__file__).with_name(name) for name in ("runner.cpp", "json.h", "wire.h", "measuring.h"))
PROGRAM, OBJECT, LIBRARY = "runner", "runner.o", "libncnn.a"

LAYERS = (
    *("Input", "MemoryData", "Split", "Noop", "Packing", "Cast", "Quantize", "Dequantize", "Requantize"),
    *("Convolution", "ConvolutionDepthWise", "Deconvolution", "DeconvolutionDepthWise", "InnerProduct"),
    *(
        "Pooling",
        "Reduction",
        "Interp",
        "PixelShuffle",
        "ShuffleChannel",
        "Padding",
        "Crop",
        "Slice",
        "Concat",
    ),
    *(
        "BatchNorm",
        "InstanceNorm",
        "GroupNorm",
        "LayerNorm",
        "Bias",
        "Scale",
        "BinaryOp",
        "UnaryOp",
        "Eltwise",
    ),
    *("ReLU", "PReLU", "ELU", "Clip", "Sigmoid", "TanH", "HardSigmoid", "HardSwish", "Swish", "Mish", "GELU"),
    *("Softmax", "Dropout", "Flatten", "Reshape", "Permute", "Squeeze", "ExpandDims"),
)
"""The layers that networks of convolutions become; recurrent ones and attention would take a third more bytes."""

LEFT_OUT = (
    *(
        "VULKAN",
        "PIXEL",
        "PIXEL_ROTATE",
        "PIXEL_AFFINE",
        "PIXEL_DRAWING",
        "C_API",
        "PLATFORM_API",
        "INSTALL_SDK",
    ),
    *("BUILD_BENCHMARK", "BUILD_TOOLS", "BUILD_EXAMPLES", "BF16", "WEIGHT_QUANT"),
    *("ARM82FP16FML", "ARM84BF16", "ARM84I8MM", "ARM86SVE", "AVX", "AVX2", "AVX512", "XOP", "F16C", "FMA"),
)
"""ncnn's switches for what the runner does not use, and for processors beyond those that boards and phones mostly have."""

CHOSEN = ("SIMPLESTL", "SIMPLEOMP", "DISABLE_PIC")
NARROW = ("INT8", "ARM82", "ARM82DOT")
"""ncnn's switches for numbers smaller than float32, and for the processors that multiply them faster."""

SMALL = ("-Os", "-ffast-math", "-DNDEBUG", "-ffunction-sections", "-fdata-sections", "-fno-stack-protector")
"""Against -O3 the file is a third smaller and executes a hundredth more instructions: the kernels are written by hand."""

PLAIN = ("-fno-exceptions", "-fno-rtti", "-fno-asynchronous-unwind-tables", "-fno-threadsafe-statics")


@dataclass(frozen=True)
class Processor:
    """`compiler` is what its tools' names begin with, `package` the package of Debian that has them. `layers` are what the
    runner has, with those whose kernels its convolutions borrow; `narrow` what it has beside float32."""

    name: str
    debian: str
    compiler: str
    package: str
    layers: tuple[str, ...] = LAYERS
    narrow: tuple[str, ...] = NARROW

    @property
    def gcc(self) -> str:
        return f"{self.compiler}g++"

    def require(self) -> None:
        """Raise BackendMissing, with what to install, where a tool is missing."""
        tools = {self.gcc: self.package, "cmake": "cmake", "make": "make"}
        missing = [tool for tool in tools if shutil.which(tool) is None]
        if missing:
            raise BackendMissing(
                f"The native runner for {self.name} cannot be built on this machine.",
                where=f"missing: {', '.join(missing)}",
                hint=f"apt install {' '.join(tools[tool] for tool in missing)}",
            )


PROCESSORS = {
    processor.name: processor
    for processor in (
        Processor("aarch64", "arm64", "aarch64-linux-gnu-", "g++-aarch64-linux-gnu"),
        Processor("x86_64", "amd64", "x86_64-linux-gnu-", "g++", (*LAYERS, "Gemm")),
    )
}


def library(processor: Processor) -> Path:
    """The folder with ncnn and musl, made or not yet, under a hash of everything that decides about them."""
    switches = (*processor.layers, *LEFT_OUT, *CHOSEN, *processor.narrow, *SMALL, *PLAIN)
    return named_after("native", f"ncnn-{processor.name}", (_source.SHA256, MIRROR, RELEASE, *switches))


def program(processor: Processor) -> Path:
    """The program, made or not yet."""
    texts = (file.read_text() for file in SOURCES)
    return named_after("native", f"runner-{processor.name}", (library(processor).name, *texts)) / PROGRAM


def make_library(processor: Processor, folder: Path, progress: Progress) -> None:
    """ncnn and musl for the processor, in the folder: some minutes. Raises BackendMissing."""
    build = _Build(processor, folder, folder / "build")
    steps = (build.unpack, build.configure, build.compile, build.keep)
    for step in track(steps, f"building ncnn for {processor.name}", progress):
        step()


def make_program(processor: Processor, folder: Path) -> None:
    """Our own program with that library: some seconds. Raises BackendMissing."""
    folder.mkdir()
    _Build(processor, library(processor), folder).link(folder / PROGRAM)
    (folder / OBJECT).unlink()


class _Build:
    """The way from the sources to the `kept` files and to the program, by way of a `scratch` folder."""

    def __init__(self, processor: Processor, kept: Path, scratch: Path) -> None:
        self.processor, self.kept, self.scratch = processor, kept, scratch
        self.source, self.binary = scratch / f"ncnn-{_source.VERSION}" / "src", scratch / "ncnn" / "src"
        self.musl, self.headers = kept / "musl" / "usr", kept / "include"

    def unpack(self) -> None:
        self.scratch.mkdir(parents=True)
        _source.unpack(self.scratch)
        Debian(self.processor.debian, self.scratch).unpack_alone("musl-dev", self.kept / "musl")

    def configure(self) -> None:
        """CMake, told of every layer: those that are not chosen are left out."""
        chosen = {layer.lower() for layer in self.processor.layers}
        settings = {
            "CMAKE_SYSTEM_NAME": "Linux",
            "CMAKE_SYSTEM_PROCESSOR": self.processor.name,
            "CMAKE_C_COMPILER": f"{self.processor.compiler}gcc",
            "CMAKE_CXX_COMPILER": self.processor.gcc,
            "CMAKE_BUILD_TYPE": "None",
            "CMAKE_C_FLAGS": " ".join(self._c_library()),
            "CMAKE_CXX_FLAGS": " ".join((*self._c_library(), *SMALL, *PLAIN)),
            "NCNN_VERSION": _source.VERSION.rpartition(".")[2],
            **{f"NCNN_{name}": "OFF" for name in LEFT_OUT},
            **{f"NCNN_{name}": "ON" for name in CHOSEN},
            **{f"NCNN_{name}": "ON" if name in self.processor.narrow else "OFF" for name in NARROW},
            **{f"WITH_LAYER_{name}": "ON" if name in chosen else "OFF" for name in self._layers()},
        }
        if self.processor.name == "x86_64":
            settings["NCNN_RUNTIME_CPU"] = (
                "OFF"  # it stands for a device in tests: one kind of kernels will do
            )
        written = [f"-D{name}={value}" for name, value in settings.items()]
        self._run(
            "cmake", "-G", "Unix Makefiles", "-S", self.source.parent, "-B", self.binary.parent, *written
        )

    def compile(self) -> None:
        self._run("cmake", "--build", self.binary.parent, "--parallel", str(os.cpu_count() or 1))

    def keep(self) -> None:
        """The library and the headers that our program includes; the rest goes."""
        self.headers.mkdir()
        for header in (*self.source.glob("*.h"), *self.binary.glob("*.h")):
            shutil.copy(header, self.headers)
        shutil.copy(self.binary / LIBRARY, self.kept)
        shutil.rmtree(self.scratch)

    def link(self, program: Path) -> None:
        ours, musl = program.with_name(OBJECT), self.musl / "lib" / f"{self.processor.name}-linux-musl"
        flags = (*self._c_library(), f"-I{self.headers}", *SMALL, *PLAIN)
        self._run(self.processor.gcc, *flags, "-c", SOURCES[0], "-o", ours)
        begin, end = (self._of_compiler(name) for name in ("crtbeginT.o", "crtend.o"))
        objects = (musl / "crt1.o", musl / "crti.o", begin, ours, self.kept / LIBRARY)
        smallest = ("-Wl,--gc-sections", "-Wl,--build-id=none", "-s")
        libraries = ("-Wl,--start-group", musl / "libc.a", "-lgcc", "-Wl,--end-group", end, musl / "crtn.o")
        linking = ("-static", "-no-pie", "-nostdlib", *smallest, "-o", program)
        self._run(self.processor.gcc, *linking, *objects, *libraries)

    def _c_library(self) -> tuple[str, ...]:
        """musl's headers and the compiler's own, in place of the C library's that it is made for."""
        musl = self.musl / "include" / f"{self.processor.name}-linux-musl"
        return ("-nostdinc", "-isystem", str(musl), "-isystem", self._of_compiler("include"))

    def _of_compiler(self, name: str) -> str:
        """The path of a file that came with the compiler."""
        return self._run(self.processor.gcc, f"-print-file-name={name}").strip()

    def _layers(self) -> Iterator[str]:
        """Every layer that ncnn has."""
        for line in (self.source / "CMakeLists.txt").read_text().splitlines():
            if line.startswith("ncnn_add_layer("):
                yield line.removeprefix("ncnn_add_layer(").rstrip(")").split()[0].lower()

    def _run(self, *command: str | Path) -> str:
        done = run(command, self.scratch)
        if not done.succeeded:
            raise BackendMissing(
                f"The native runner for {self.processor.name} cannot be built: {done.said}.",
                where=" ".join(str(word) for word in command[:2]),
                hint=f"it is known to build with Debian's {self.processor.package} 12.2 and cmake 3.25",
            )
        return done.output
