"""Figures that tell how well ONNX Runtime will execute a file, for its manifest."""

from __future__ import annotations

import contextlib
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import onnx
from onnx import TensorProto

from edgepress.history import Value
from edgepress.plugins import require

QUANTIZE, DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"
FLOATS = {TensorProto.FLOAT, TensorProto.FLOAT16}


def quality(path: Path) -> Mapping[str, Value]:
    """Counts over the graph that ONNX Runtime makes of the file: of operators, of transposes, of changes between
    int8 and float that it could not fuse, and of operators that compute in float (0 is what a quantized file should
    have, but for the ends). Of a file that it refuses, which verifying will tell, over the file's own graph."""
    require("onnxruntime", extra="")
    with tempfile.TemporaryDirectory(prefix="edgepress-") as folder:
        model = onnx.load(_optimized(path, Path(folder)), load_external_data=False)
    types = Counter(node.op_type for node in model.graph.node)
    return {
        "operations": sum(types.values()),
        "transposes": types["Transpose"],
        "conversions": types[QUANTIZE] + types[DEQUANTIZE],
        "float_operations": _computing_float(model),
    }


def _optimized(path: Path, folder: Path) -> Path:
    """The graph after every fusion that is the same on all processors; the file itself where there is none."""
    import onnxruntime

    found = folder / "optimized.onnx"
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(found)
    options.log_severity_level = 4
    with contextlib.suppress(Exception):  # the errors of ONNX Runtime share no base class
        onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return found if found.is_file() else path


def _computing_float(model: onnx.ModelProto) -> int:
    values = (*model.graph.value_info, *model.graph.output)
    types = {value.name: value.type.tensor_type.elem_type for value in values}
    return sum(
        node.op_type not in (QUANTIZE, DEQUANTIZE) and types.get(node.output[0]) in FLOATS
        for node in model.graph.node
    )
