"""From a Program to the Model of a TFLite file: simplify, fuse, lower each operator, tidy."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import numpy as np
from torch.fx import Node
from torch.utils import _pytree

from edgepress.convert._dynamic import take_dynamic
from edgepress.convert._response_norm import spell_out_norms
from edgepress.convert._tflite import (  # noqa: F401  each registers the lowerings of its operators
    activations,
    arithmetic,
    attention,
    composed,
    convolution,
    logic,
    norms,
    pooling,
    ranking,
    recurrent,
    shapes,
    slices,
    volumes,
)
from edgepress.convert._tflite.arithmetic import takes_int8
from edgepress.convert._tflite.calls import Call, calls, quantization_of, quantizer, shape_at
from edgepress.convert._tflite.draft import LOWERINGS, Draft, Stored, Value, options, unsupported
from edgepress.convert._tflite.layout import NHWC, plain, reordered
from edgepress.convert._tflite.model import Model, Op, Tensor
from edgepress.convert._tflite.parts import with_split_convolutions
from edgepress.convert._tflite.quantize import as_float, requantized
from edgepress.convert._tflite.shuffles import without_shuffles
from edgepress.convert._tflite.simplify import simplified
from edgepress.convert._tflite.spelling import WITHIN, spell_out
from edgepress.convert._tflite.tidy import tidied, with_widened_weights
from edgepress.convert._unsupported import UnsupportedOperator
from edgepress.errors import UnsupportedModel
from edgepress.graph import DEQUANTIZE_CHANNELS, WEIGHTED, op_name
from edgepress.program import Program
from edgepress.signature import TensorSpec

Io = Literal["float32", "int8"]
KNOWN = LOWERINGS.keys() | {DEQUANTIZE_CHANNELS}
NOT_OF_16_BITS = (
    "hardswish",
    "hardsigmoid",
    "sigmoid",
    "tanh",
    "silu",
    "softmax",
    "log_softmax",
    "gelu",
    "elu",
    "prelu",
)
"""Operators whose kernels have no int16, or one fixed scale for it."""
DTYPES = ("float32", "int32", "int64", "uint8", "bool")


def lowered(
    program: Program, batch: int, io: Io, packed: bool = True
) -> Model | tuple[UnsupportedOperator, ...]:
    """The file's operations for a fixed `batch`, or every place that TFLite cannot run. Raises UnsupportedModel for
    what is not the matter of single operators."""
    graph_module = program.graph_module()
    take_dynamic(graph_module)
    spell_out_norms(graph_module)
    graph_module = spell_out(simplified(graph_module, batch), batch, KNOWN)
    draft = Draft(graph_module, Stored.of(program.quantized, packed))
    images = holds_images(program)
    placeholders = [node for node in graph_module.graph.nodes if node.op == "placeholder"]
    for node, spec in zip(placeholders, program.signature.inputs, strict=True):
        draft.values[node] = _input(draft, node, spec, shape_at(node, batch), io, images)
    fusing = {target for target, lowering in LOWERINGS.items() if lowering.fuses}
    if refused := _refused(draft, calls(graph_module, batch, fusing), batch):
        return refused
    (results,) = graph_module.graph.output_node().args
    nodes = _pytree.tree_leaves(results)
    for node, spec in zip(nodes, program.signature.outputs, strict=True):
        draft.model.outputs.append((spec.name, _output(draft, node, spec, io, images)))
    model = tidied(with_split_convolutions(tidied(without_shuffles(draft.model))))
    return with_widened_weights(model) if draft.stored.weights == "widened" else model


def holds_images(program: Program) -> bool:
    """Whether 4-D inputs and outputs of the file are NHWC."""
    return any(len(spec.shape) == 4 for spec in program.signature.inputs)


def _refused(draft: Draft, calls: Iterable[Call], batch: int) -> tuple[UnsupportedOperator, ...]:
    """Lower every call; those that cannot be, while a stand-in takes the place of their value."""
    refused: list[UnsupportedOperator] = []
    for call in calls:
        try:
            _lower(call, draft)
        except UnsupportedModel as error:
            refused.append(UnsupportedOperator.at(call.node, error.what, error.hint))
            draft.stand_in(call, batch)
        except Exception:
            if not refused:
                raise
            # It reads a stand-in: what it says of that tells nothing of the network.
            draft.stand_in(call, batch)
    return tuple(refused)


def _lower(call: Call, draft: Draft) -> None:
    """Write one call; its value, in the call's int8 code if it has one, stands for every node it covers."""
    lowering = LOWERINGS.get(call.target)
    if lowering is None:
        what = f"The TFLite writer has no lowering of {op_name(call.node)}."
        raise unsupported(call.node, what, "write the layer with other operators, or convert to onnx")
    draft.begin(call, lowering.int8 == "computes" and _fits_int8(call, draft))
    written = len(draft.model.operations)
    value = lowering.write(call, draft)
    if isinstance(value, list):
        draft.lists[call.node] = value
        return
    if call.quantization is not None:
        value = requantized(draft, value, call.quantization)
    made = [operation.outputs[0] for operation in draft.model.operations[written:]]
    if value.tensor in made and value.features is None and WITHIN not in call.covers[-1].meta:
        value.tensor.name = call.layer
    for node in call.covers:
        draft.values[node] = value


def _fits_int8(call: Call, draft: Draft) -> bool:
    """Whether everything the call needs to compute in int8 is there: codes of its inputs, weight and result."""
    if call.quantization is None or not takes_int8(call):
        return False
    if call.quantization.dtype == np.int16 and op_name(call.node).rstrip("_") in NOT_OF_16_BITS:
        return False
    if call.target in WEIGHTED and call.arguments["weight"].target is not DEQUANTIZE_CHANNELS:
        return False
    inputs = [draft.values[node] for node in call.node.all_input_nodes if node in draft.values]
    return bool(inputs) and all(value.tensor.quantization is not None for value in inputs)


def _input(draft: Draft, node: Node, spec: TensorSpec, shape: tuple[int, ...], io: Io, images: bool) -> Value:
    if spec.dtype not in DTYPES:
        raise UnsupportedModel(
            f"The input {spec.name!r} is {spec.dtype}.", hint=f"capture with inputs of {', '.join(DTYPES)}"
        )
    order = _file_order(len(shape), images)
    code, dtype = None, np.dtype(spec.dtype)
    if io == "int8" and dtype == np.float32:
        pair = quantizer(node)
        if pair is None:
            raise _not_quantized(f"input {spec.name!r}")
        code = quantization_of(pair)
        dtype = code.dtype
    tensor = Tensor(spec.name, tuple(shape[axis] for axis in order), dtype, quantization=code)
    draft.model.inputs.append((spec.name, tensor))
    return Value(tensor, order)


def _output(draft: Draft, node: Node, spec: TensorSpec, io: Io, images: bool) -> Tensor:
    """The node's value as the file gives it: a tensor of its own, in the file's order and dtype."""
    value = draft.value(node)
    if spec.dtype == "int8":
        raise UnsupportedModel(
            f"The output {spec.name!r} is int8.",
            hint="dequantize it in the network; io=int8 then removes the dequantization",
        )
    if io == "float32":
        value = as_float(draft, value)
    elif value.tensor.dtype == np.float32:
        raise _not_quantized(f"output {spec.name!r}")
    tensor = reordered(draft, value, _file_order(len(value.order), images)).tensor
    if tensor in draft.producers and tensor not in [other for _, other in draft.model.outputs]:
        return tensor
    copy = Tensor(spec.name, tensor.shape, tensor.dtype, quantization=tensor.quantization)
    sizes = options("ReshapeOptions", newShape=list(tensor.shape))
    return draft.emit(Op.RESHAPE, [tensor, draft.int32(*tensor.shape)], copy, sizes)


def _file_order(rank: int, images: bool) -> tuple[int, ...]:
    return NHWC if rank == 4 and images else plain(rank)


def _not_quantized(what: str) -> UnsupportedModel:
    return UnsupportedModel(
        f"io=int8 needs a quantized network, but its {what} is float.",
        hint="quantize first (quantize_static), or leave io at float32",
    )
