"""ResNet-50 and ResNet-101 in float32, with float16 weights, and in int8, eight pictures at a time, on every target given.

python benchmarks/suites/precision.py --on cpu:onnxruntime,cpu:litert

Weights are random: nothing is said of accuracy, and dense runtimes are as fast as with trained ones. What a runtime makes of
float16 weights (halves on ncnn and MNN where the processor has them, floats elsewhere) is its own affair: the time tells.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

import torch
from _noise import settled  # type: ignore[import-not-found]  # beside this script, not in the package
from _on_targets import Case, Found, measured, parser, save, table  # type: ignore[import-not-found]  # the same

from edgepress import compress, models
from edgepress.benchmarks import are_comparable, ratio
from edgepress.compress.quantize_static import QuantizeStatic
from edgepress.data._arrays import ArrayData
from edgepress.recipe import Recipe


def main() -> bool:
    options = parser(__doc__ or "", targets="cpu:onnxruntime,cpu:litert")
    options.add_argument("--networks", nargs="+", default=["resnet50", "resnet101"], help="[%(default)s]")
    options.add_argument("--batch", type=int, default=8, help="pictures at a time [%(default)s]")
    given = options.parse_args()
    cases = [case for name in given.networks for case in _precisions(name)]
    found = measured(cases, given, given.batch)
    table(found, lambda one: _against_float(one, found))
    save("precision", found, given)
    return any(one.measurement for one in found)


def _precisions(name: str) -> Iterator[Case]:
    torch.manual_seed(0)
    program = settled(models.load(name))
    quantize = QuantizeStatic(samples=8, batch_size=4, rounding="nearest")
    integers = compress.apply(program, Recipe((quantize,)), ArrayData(*program.signature.example(8, seed=3)))
    yield Case(f"{name} float32", program)
    yield Case(f"{name} float16", program, options={"weights": "float16"})
    yield Case(f"{name} int8", integers)


def _against_float(one: Found, found: Sequence[Found]) -> dict[str, str]:
    network = one.case.name.partition(" ")[0]
    first = next(
        other
        for other in found
        if other.case.name == f"{network} float32"
        and (other.target, other.threads) == (one.target, one.threads)
    )
    if (
        one.measurement is None
        or first.measurement is None
        or not are_comparable(first.measurement, one.measurement)
    ):
        return {"× float32": ""}
    return {"× float32": f"{ratio(first.measurement, one.measurement).value:.2f}"}


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
