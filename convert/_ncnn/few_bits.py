"""Activations of fewer bits than 8, which ncnn cannot follow."""

from __future__ import annotations

from edgepress import graph
from edgepress.convert._unsupported import UnsupportedOperator
from edgepress.program import Program

ENDS = frozenset(128 - 2**bits for bits in range(2, 7))
"""The zero points of activations with 2 to 6 bits, which lie on the highest integers of int8. With 7 the integers about
zero are as many, and ncnn's are the same."""

REASON = (
    "ncnn's int8 is symmetric about zero: activations trained for fewer bits end where int8 ends, "
    "and it neither clips them there nor has their steps."
)
HINT = "train with activation_bits=8, or at least 7; or convert --to tflite or --to onnx"


def read_few_bits(program: Program) -> tuple[UnsupportedOperator, ...]:
    """Every layer that reads such activations; only quantization-aware training makes them."""
    if not any(step.name == "quantize_aware" for step in program.history.steps):
        return ()
    return tuple(
        UnsupportedOperator.at(node, REASON, HINT)
        for node in graph.operators(program.graph_module())
        if node.target in graph.WEIGHTED
        for source in node.all_input_nodes[:1]
        if source.target is graph.DEQUANTIZE and source.args[2] in ENDS
    )
