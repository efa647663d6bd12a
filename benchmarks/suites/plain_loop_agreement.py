"""Whether our medians are those of a plain loop around the runtimes' own calls, file by file and turn about.

python benchmarks/suites/plain_loop_agreement.py --data FOLDER
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

from _suite import arguments, check, reference_networks  # type: ignore[import-not-found]  # beside this script, not in the package

from edgepress import convert, runtime
from edgepress.artifact import Artifact
from edgepress.benchmarks import Protocol, measure
from edgepress.cli._console import print_table

TURNS = 25
RUNS = 50
LARGEST_DIFFERENCE_PERCENT = 3.0
PROTOCOL = Protocol(min_runs=RUNS, min_seconds=0, rounds=5)


def main() -> bool:
    given = arguments(__doc__ or "")
    program = reference_networks().resnet20()
    folder = given.out / "plain_loop_agreement"
    rows, claims = [], []
    for format, plain_loop in (("onnx", _onnxruntime_ms), ("tflite", _litert_ms)):
        artifact = convert.to(program, format, folder / f"resnet20.{format}")
        pairs = [(_ours_ms(artifact), plain_loop(artifact)) for _ in range(TURNS)]
        ratio = statistics.median(ours_ms / plain_ms for ours_ms, plain_ms in pairs)
        ours_ms, plain_ms = (statistics.median(column) for column in zip(*pairs, strict=True))
        rows.append([format, f"{ours_ms:.4f}", f"{plain_ms:.4f}", f"{ratio:.4f}"])
        claims.append(
            check(f"{format}: percent from a plain loop", 100 * abs(ratio - 1), LARGEST_DIFFERENCE_PERCENT)
        )
    print_table(["format", "ours, ms", "plain loop, ms", "median of the ratios"], rows)
    return all(claims)


def _ours_ms(artifact: Artifact) -> float:
    return measure(runtime.open(artifact), PROTOCOL).median_ms or 0.0


def _onnxruntime_ms(artifact: Artifact) -> float:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(artifact.path), options, providers=["CPUExecutionProvider"])
    (array,) = artifact.manifest.signature.example()
    feeds = {session.get_inputs()[0].name: array}
    return _loop_ms(lambda: session.run(None, feeds))


def _litert_ms(artifact: Artifact) -> float:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(Path(artifact.path)), num_threads=1)
    interpreter.allocate_tensors()
    detail = interpreter.get_input_details()[0]
    (array,) = artifact.manifest.signature.example()
    interpreter.set_tensor(detail["index"], array.transpose(0, 2, 3, 1))
    return _loop_ms(interpreter.invoke)


def _loop_ms(call: Callable[[], object]) -> float:
    for _ in range(20):
        call()
    times = []
    for _ in range(RUNS):
        started = time.perf_counter()
        call()
        times.append(1000 * (time.perf_counter() - started))
    return statistics.median(times)


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
