"""Quantizes one ONNX file with one peer as its users do, in a process of its own, and says what that took.

python _peer_quantizers.py METHOD MODEL.onnx SAMPLES.npy OUT.onnx

Runs in the peer's own virtual environment and imports nothing of edgepress. Prints one line of JSON.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from _footprint import measured, tell  # type: ignore[import-not-found]  # beside this script

for switch in ("NNCF_CI", "NNCF_DEV"):
    os.environ[switch] = "1"  # NNCF reports its use otherwise


def onnxruntime_minmax(model: Path, samples: np.ndarray, out: Path) -> None:
    """Weights per channel, uint8 activations: what its kernels on x86 are fastest with."""
    _onnxruntime(model, samples, out, "MinMax")


def onnxruntime_percentile(model: Path, samples: np.ndarray, out: Path) -> None:
    _onnxruntime(model, samples, out, "Percentile")


def onnxruntime_entropy(model: Path, samples: np.ndarray, out: Path) -> None:
    _onnxruntime(model, samples, out, "Entropy")


def _onnxruntime(model: Path, samples: np.ndarray, out: Path, method: str) -> None:
    from onnxruntime import quantization

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]  # the package has no types
        def __init__(self) -> None:
            self._feeds = iter({_input_name(model): sample[None]} for sample in samples)

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self._feeds, None)

    quantization.quantize_static(
        str(model), str(out), Reader(), quant_format=quantization.QuantFormat.QDQ, per_channel=True,
        activation_type=quantization.QuantType.QUInt8, weight_type=quantization.QuantType.QInt8,
        calibrate_method=getattr(quantization.CalibrationMethod, method),
    )  # fmt: skip


def nncf_default(model: Path, samples: np.ndarray, out: Path) -> None:
    _nncf(model, samples, out, overflow_fix=True)


def nncf_without_overflow_fix(model: Path, samples: np.ndarray, out: Path) -> None:
    _nncf(model, samples, out, overflow_fix=False)


def _nncf(model: Path, samples: np.ndarray, out: Path, *, overflow_fix: bool) -> None:
    import nncf  # type: ignore[import-not-found]  # of the peer's environment
    import onnx

    fix = "ENABLE" if overflow_fix else "DISABLE"
    quantized = nncf.quantize(
        onnx.load(model),
        nncf.Dataset([{_input_name(model): sample[None]} for sample in samples]),
        subset_size=len(samples),
        advanced_parameters=nncf.AdvancedQuantizationParameters(overflow_fix=getattr(nncf.OverflowFix, fix)),
    )
    onnx.save(quantized, out)


def aimet_default(model: Path, samples: np.ndarray, out: Path) -> None:
    import aimet_onnx  # type: ignore[import-not-found]  # of the peer's environment
    import onnx

    simulated = aimet_onnx.QuantizationSimModel(
        onnx.load(model), param_type="int8", activation_type="int8", providers=["CPUExecutionProvider"]
    )
    simulated.compute_encodings([{_input_name(model): sample[None]} for sample in samples])
    onnx.save(simulated.to_onnx_qdq(), out)


def _input_name(model: Path) -> str:
    import onnx

    return str(onnx.load(model).graph.input[0].name)


METHODS: dict[str, Callable[[Path, np.ndarray, Path], None]] = {
    name: function
    for name, function in globals().items()
    if name.startswith(("onnxruntime_", "nncf_", "aimet_"))
}


def main() -> None:
    method, model, samples, out = sys.argv[1:]
    arrays = np.load(samples)
    _, figures = measured(lambda: METHODS[method](Path(model), arrays, Path(out)))
    tell(figures)


if __name__ == "__main__":
    main()
