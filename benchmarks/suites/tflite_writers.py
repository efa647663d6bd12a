"""Our TFLite writer beside litert-torch, in float and int8: bytes, operators, parity, and latency in one interleaved run.

python benchmarks/suites/tflite_writers.py --reference PYTHON

PYTHON is an interpreter that has litert-torch (and with it ai-edge-quantizer, which makes the int8 files), which does
not share an environment with much else:

    python3 -m venv litert && litert/bin/pip install torch==2.13.0 litert-torch
"""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from _noise import noise, settled  # type: ignore[import-not-found]  # beside this script, not in the package
from _suite import check  # type: ignore[import-not-found]  # beside this script, not in the package

from edgepress import compress, convert, models, runtime
from edgepress.artifact import Artifact
from edgepress.benchmarks import Measurement, Protocol, compare, ratio
from edgepress.cli._console import print_table, remark
from edgepress.compress.quantize_static import QuantizeStatic
from edgepress.data._arrays import ArrayData
from edgepress.program import Program
from edgepress.recipe import Recipe

NETWORKS = ("mobilenet_v2", "shufflenet_v2")
MOST_SECONDS = 2.0
LEAST_SPEEDUP = {"mobilenet_v2": 0.97, "shufflenet_v2": 1.1}
"""Of our file over litert-torch's. MobileNetV2 has nothing to gain: 3 % is what the machine's noise leaves open. ShuffleNetV2
gains what the reference spends on transposes. In float both files spend most of their time in the same products of matrices, so
where a busy machine slows these down (their weights come from memory), the claim may fail by a few percent."""
SAMPLES = 16
PICTURE = (3, 224, 224)
OPERATIONS_OF_INTEREST = ("CONV_2D", "SLICE", "CONCATENATION", "TRANSPOSE")

REFERENCE = """
import sys, time
import numpy as np, torch, litert_torch
from ai_edge_quantizer import quantizer, recipe
source, pictures, float_path, int8_path = sys.argv[1:]
module = torch.export.load(source).module()
module = litert_torch.to_channel_last_io(module, args=[0])
started = time.perf_counter()
litert_torch.convert(module, (torch.zeros(1, 224, 224, 3),)).export(float_path)
print(time.perf_counter() - started)
started = time.perf_counter()
static = quantizer.Quantizer(float_path, recipe.static_wi8_ai8())
samples = [{"args_0": picture[None]} for picture in np.load(pictures).transpose(0, 2, 3, 1)]
static.quantize(static.calibrate({"serving_default": samples})).export_model(int8_path)
print(time.perf_counter() - started)
"""
"""Run by the other interpreter: it loads our .pt2 with plain PyTorch."""

Kind = Literal["float32", "int8"]


@dataclasses.dataclass(frozen=True)
class Written:
    """One file and the seconds its writer took."""

    artifact: Artifact
    seconds: float


def main() -> bool:
    if "--reference" not in sys.argv[1:-1]:
        remark("nothing to compare with: --reference PYTHON names an interpreter that has litert-torch")
        return True
    python = sys.argv[sys.argv.index("--reference") + 1]
    torch.manual_seed(0)
    claims = []
    with tempfile.TemporaryDirectory() as folder:
        for name in NETWORKS:
            claims += _network(name, Path(folder), python)
    return all(claims)


def _network(name: str, folder: Path, python: str) -> list[bool]:
    """Write the network four times, compare the files of a kind, and say which claims hold."""
    program, examples = settled(models.load(name)), noise(PICTURE, SAMPLES)
    quantized = compress.apply(program, Recipe((QuantizeStatic(samples=SAMPLES),)), examples)
    ours: dict[Kind, Written] = {
        "float32": _ours(program, folder / f"{name}.tflite", {}),
        "int8": _ours(quantized, folder / f"{name}-int8.tflite", {"io": "int8"}),
    }
    claims = []
    for kind, theirs in _theirs(program, examples, ours, python).items():
        speedup = _show(f"{name}, {kind}", program, [ours[kind], theirs])
        claims.append(check(f"{name}, {kind}: seconds to write", ours[kind].seconds, MOST_SECONDS))
        claims.append(check(f"{name}, {kind}: times as fast", speedup, LEAST_SPEEDUP[name], at_most=False))
        for figure in ("transposes", "tensors_over_4d"):
            count = ours[kind].artifact.manifest.quality[figure]
            assert isinstance(count, int)
            claims.append(check(f"{name}, {kind}: {figure}", count, 0))
    return claims


def _ours(program: Program, path: Path, options: dict[str, Any]) -> Written:
    started = time.perf_counter()
    artifact = convert.to(program, "tflite", path, options)
    return Written(artifact, time.perf_counter() - started)


def _theirs(
    program: Program, examples: ArrayData, ours: dict[Kind, Written], python: str
) -> dict[Kind, Written]:
    paths = {kind: file.artifact.path.with_suffix(".reference.tflite") for kind, file in ours.items()}
    saved = program.save(paths["float32"].with_suffix(".pt2"))
    pictures = saved.path.with_suffix(".npy")
    np.save(pictures, examples.inputs[0])
    finished = subprocess.run(
        [python, "-W", "ignore", "-c", REFERENCE, saved.path, pictures, *paths.values()],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    seconds = [float(word) for word in finished.stdout.split() if word.replace(".", "").isdigit()][-2:]
    return {
        kind: Written(Artifact.describe(path, ours[kind].artifact.manifest), spent)
        for (kind, path), spent in zip(paths.items(), seconds, strict=True)
    }


def _show(title: str, program: Program, files: list[Written]) -> float:
    """One row a file, the errors against the float network; returns how many times as fast the first is."""
    measured: list[Measurement] = compare(
        [runtime.open(file.artifact) for file in files], Protocol(rounds=50, min_runs=300, max_seconds=20)
    )
    latency = ratio(measured[0], measured[1])
    rows = []
    for file, measurement in zip(files, measured, strict=True):
        names = operators(file.artifact.path)
        with runtime.open(file.artifact) as runner:
            parity = runtime.compare(program.run, runner.run, [program.signature.example(8)])
        rows.append([
            file.artifact.path.name, f"{file.seconds:.2f}", f"{file.artifact.manifest.size_bytes:,}",
            str(len(names)), *(str(names.count(name)) for name in OPERATIONS_OF_INTEREST),
            str(outside_the_delegate(file.artifact.path)), f"{parity.relative_error:.1e}",
            f"{measurement.median_ms:.3f}", f"{measurement.cpu_ms:.3f}",
        ])  # fmt: skip
    columns = [
        "file", "seconds", "bytes", "operators", *OPERATIONS_OF_INTEREST, "outside XNNPACK", "relative error",
        "median ms", "cpu ms",
    ]  # fmt: skip
    print_table(
        columns, rows, title=f"{title}: {latency.value:.3f} ({latency.low:.3f} to {latency.high:.3f})"
    )
    return latency.value


def operators(path: Path) -> list[str]:
    """The operators that the file holds, in order."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    plain = Interpreter(
        str(path), experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    )
    return [details["op_name"] for details in plain._get_ops_details()]


def outside_the_delegate(path: Path) -> int:
    """How many operators XNNPACK leaves to LiteRT's own kernels: the makers of what delegates and outputs read, as
    far as no delegate gives it."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path))
    interpreter.allocate_tensors()
    nodes = interpreter._get_ops_details()
    delegates = [node for node in nodes if node["op_name"] == "DELEGATE"]
    makers = {
        output: node["index"] for node in nodes if node["op_name"] != "DELEGATE" for output in node["outputs"]
    }
    given = {output for node in delegates for output in node["outputs"]}
    waiting = [detail["index"] for detail in interpreter.get_output_details()]
    waiting += [tensor for node in delegates for tensor in node["inputs"]]
    outside: set[int] = set()
    while waiting:
        tensor = waiting.pop()
        if tensor in makers and tensor not in given and makers[tensor] not in outside:
            outside.add(makers[tensor])
            waiting += [source for source in nodes[makers[tensor]]["inputs"] if source >= 0]
    return len(outside)


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
