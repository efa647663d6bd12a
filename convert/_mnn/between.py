"""Keeps in float what stands between the layers that compute in int8.

MNN would compute additions, poolings and the like in int8, too, where it knows the codes of what they read and give;
but on x86, where it stores an int8 value with 128 added, its kernels for these do not take that away. A file has to be
right on every processor.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from edgepress.convert._onnx_writing.float_twin import ActivationScale, WeightedLayer

if TYPE_CHECKING:
    import onnx_ir


def keep_float_between(model: onnx_ir.Model, layers: Sequence[WeightedLayer]) -> None:
    """Wherever a value passes from one of the layers to another operator, and back, put the maximum of it and of the
    least that its code can say: it changes nothing, and is one of the few operators that MNN hands no code on through.
    """
    values = {
        str(value.name): value for node in model.graph for value in (*node.inputs, *node.outputs) if value
    }
    nodes = {layer.name for layer in layers}
    given = {layer.gives: layer.output for layer in layers}
    read = {layer.reads: layer.input for layer in layers if layer.reads not in given}
    for name, code in given.items():
        _guard(model, values[name], code, lambda node: node.name not in nodes)
    for name, code in read.items():
        if not values[name].is_graph_input():
            _guard(model, values[name], code, lambda node: node.name in nodes)


def _guard(
    model: onnx_ir.Model, value: onnx_ir.Value, code: ActivationScale, meant: Callable[[onnx_ir.Node], bool]
) -> None:
    """Let those who are meant read the value through a maximum."""
    import onnx_ir

    uses, producer = [use for use in value.uses() if meant(use.node)], value.producer()
    if not uses or producer is None:
        return
    name = f"{value.name}/Max"
    guard = onnx_ir.node("Max", [value, _constant(model, f"{name}:1", code.least)], name=name)
    guard.outputs[0].name, guard.outputs[0].shape, guard.outputs[0].type = name, value.shape, value.type
    model.graph.insert_after(producer, guard)
    for use in uses:
        use.node.replace_input_with(use.idx, guard.outputs[0])


def _constant(model: onnx_ir.Model, name: str, number: float) -> onnx_ir.Value:
    import onnx_ir

    tensor = onnx_ir.Tensor(np.asarray(number, np.float32), name=name)
    value = onnx_ir.Value(
        name=name, shape=tensor.shape, type=onnx_ir.TensorType(tensor.dtype), const_value=tensor
    )
    model.graph.register_initializer(value)
    return value
