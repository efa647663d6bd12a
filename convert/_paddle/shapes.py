"""Runs another script with x2paddle told the shapes that its file holds: python shapes.py SCRIPT.py ...
A script of Paddle's own environment, it imports nothing of ours."""

import runpy
import sys
from typing import Any

from onnx import GraphProto, ModelProto, ValueInfoProto
from x2paddle.decoder import onnx_decoder

infer = onnx_decoder.SymbolicShapeInference.infer_shapes


def infer_or_read(model: ModelProto, fixed_input_shape: Any = None) -> GraphProto:
    """Of a graph with an operator that it fails on, x2paddle infers nothing behind that."""
    graph: GraphProto = infer(model, fixed_input_shape=fixed_input_shape)
    graph.value_info.extend(filter(is_whole, (*model.graph.value_info, *model.graph.output)))
    return graph


def is_whole(value: ValueInfoProto) -> bool:
    """Whether the file says every size, or at least a name for it."""
    sizes = value.type.tensor_type.shape.dim
    return bool(sizes) and all(size.WhichOneof("value") for size in sizes)


onnx_decoder.SymbolicShapeInference.infer_shapes = staticmethod(infer_or_read)
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
