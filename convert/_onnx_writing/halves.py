"""Stores weights in half precision."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgepress.convert._onnx_writing.stored import constant

if TYPE_CHECKING:
    import onnx_ir

READERS = ("Conv", "ConvTranspose", "Gemm", "MatMul", "Gather", "Transpose")
"""What reads large constants that are weights."""

FLOAT = 1
"""ONNX's number of the type."""

FEWEST = 64
"""Elements: what is smaller saves less than the Cast takes."""


def store_halves(model: onnx_ir.Model) -> None:
    """Weights become float16 behind a Cast, in place, unless one of their values is too large for it. ONNX Runtime folds
    the Cast while it loads the file, so that nothing is slower and sums are those of float32."""
    import onnx_ir

    for name, value in list(model.graph.initializers.items()):
        readers = [use.node for use in value.uses()]
        if not readers or any(node.op_type not in READERS for node in readers) or value.const_value is None:
            continue
        array = value.const_value.numpy()
        if array.dtype != np.float32 or array.ndim < 2 or array.size < FEWEST or not _fits(array):
            continue
        half = constant(model, f"{name}/float16", array.astype(np.float16))
        cast = onnx_ir.node("Cast", [half], {"to": FLOAT}, name=f"{name}/widen")
        cast.outputs[0].name = f"{name}/float32"
        model.graph.insert_before(model.graph[0], cast)
        value.replace_all_uses_with(cast.outputs[0])
        del model.graph.initializers[name]


def _fits(array: np.ndarray) -> bool:
    return float(np.abs(array).max(initial=0)) <= float(np.finfo(np.float16).max)
