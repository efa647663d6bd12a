"""SqueezeNet 1.0 with real ImageNet weights: FP32 against INT8 on ONNX Runtime and on LiteRT, in one interleaved run.

python benchmarks/suites/squeezenet_int8.py --data FOLDER
"""

from __future__ import annotations

import sys

from _suite import Suite, arguments, check, latency_ratio, reference_networks  # type: ignore[import-not-found]  # beside this script, not in the package

from edgepress.compress.quantize_static import QuantizeStatic
from edgepress.recipe import Recipe

SUITE = Suite(
    name="squeezenet_int8", recipe=Recipe((QuantizeStatic(samples=200),)), formats=("onnx", "tflite")
)
LARGEST_DROP_POINTS = 1.0
LARGEST_SIZE_RATIO = 0.28
LARGEST_LATENCY_RATIO = 0.6


def main() -> bool:
    given = arguments(__doc__ or "")
    networks = reference_networks()
    finished = SUITE.run(networks.squeezenet(), networks.imagenet_sample(), given)
    claims = [check("ONNX INT8 latency over FP32", latency_ratio(finished, "onnx"), LARGEST_LATENCY_RATIO)]
    for format in SUITE.formats:
        original, model = finished.of(f"original.{format}"), finished.of(f"model.{format}")
        size = model.size_bytes / original.size_bytes
        claims.append(check(f"{format} INT8 size over FP32", size, LARGEST_SIZE_RATIO))
        if original.accuracy and model.accuracy:
            drop = original.accuracy.percent - model.accuracy.percent
            claims.append(check(f"{format} top-1 points lost by INT8", drop, LARGEST_DROP_POINTS))
    return all(claims)


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
