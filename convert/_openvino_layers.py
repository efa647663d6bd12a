"""A script of its own process: compiles an OpenVINO model as it will run, and prints how many of its layers with weights
compute in int8 and how many in float, as JSON. OpenVINO ends the process where one of its own passes crashes."""

from __future__ import annotations

import json
import sys

from edgepress.openvino_file import openvino

WEIGHTED = frozenset({"Convolution", "Deconvolution", "FullyConnected", "MatMul", "RNNSeq", "RNNCell"})
"""What OpenVINO's CPU plugin calls the layers that do the work."""

INTEGERS = frozenset({"i8", "u8"})


def counted(graph: str) -> dict[str, int]:
    """Of the model whose graph is in this file, on the processor of this machine."""
    compiled = openvino().Core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    notes = [node.get_rt_info() for node in compiled.get_runtime_model().get_ordered_ops()]
    precisions = [note["runtimePrecision"].value for note in notes if note["layerType"].value in WEIGHTED]
    integer = sum(precision in INTEGERS for precision in precisions)
    return {"int8_layers": integer, "float_layers": len(precisions) - integer}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(counted(sys.argv[1])))
