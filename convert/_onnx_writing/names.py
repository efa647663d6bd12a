"""Makes an exported ONNX graph speak the user's names: inputs, outputs, the batch axis and the layers."""

from __future__ import annotations

import ast
from collections import Counter
from typing import TYPE_CHECKING

from edgepress import graph
from edgepress.program import Program

if TYPE_CHECKING:
    import onnx_ir

SCOPES = "pkg.torch.onnx.name_scopes"
"""The exporter's note on every node: the modules it was called in, outermost first, and its name in the lowered graph."""

BATCH = "batch"
WEIGHT = ".weight"


def name_as_in_program(model: onnx_ir.Model, program: Program) -> None:
    """Name inputs and outputs as the signature does, nodes and their outputs `<layer>/<type>`; drop all other notes.

    The notes hold the user's source lines and paths: neither needed to run the file nor meant to be given away.
    """
    owners = {node.name: graph.layer_name(node) for node in graph.operators(program.graph_module())}
    _name_nodes(model, owners)
    _separate_outputs(model)
    _name_ends(model, program)
    _name_batch(model)
    _drop_notes(model)


def _separate_outputs(model: onnx_ir.Model) -> None:
    """An output that is an input as well, or another output, becomes a value of its own, to bear its own name."""
    import onnx_ir

    ends = list(model.graph.inputs)
    for position, value in enumerate(list(model.graph.outputs)):
        if any(value is end for end in ends):
            copy = onnx_ir.node("Identity", [value])
            copy.outputs[0].shape, copy.outputs[0].type = value.shape, value.type
            model.graph.append(copy)
            model.graph.outputs[position] = copy.outputs[0]
        ends.append(value)


def _name_ends(model: onnx_ir.Model, program: Program) -> None:
    """As the signature does, with names that differ, for ONNX forbids others."""
    inputs, outputs = program.signature.distinct_names()
    for value, name in zip([*model.graph.inputs, *model.graph.outputs], [*inputs, *outputs], strict=True):
        value.name = name


def _name_nodes(model: onnx_ir.Model, owners: dict[str, str]) -> None:
    # Runtimes call a fused node by its output: so outputs carry the layer's name as well.
    seen: Counter[str] = Counter()
    for node in model.graph.all_nodes():
        name = f"{owner}/{node.op_type}" if (owner := _owner(node, owners)) else node.op_type
        seen[name] += 1
        node.name = name if seen[name] == 1 else f"{name}_{seen[name]}"
        for number, value in enumerate(node.outputs):
            value.name = f"{node.name}:{number}" if number else node.name


def _owner(node: onnx_ir.Node, owners: dict[str, str]) -> str:
    """The user's layer: the module that owns the weight, else the module that the node was called in. The exporter stores
    equal weights once, as the ones of untrained norms: those tell no owner."""
    weight = node.inputs[1] if len(node.inputs) > 1 else None
    if weight is not None and (source := weight.producer()) is not None:
        weight = source.inputs[0] if source.op_type == "DequantizeLinear" else None
    scopes = ast.literal_eval(node.metadata_props.get(SCOPES, "[]"))
    module = next((scope for scope in reversed(scopes[:-1]) if scope and scope[0] != "_"), "")
    if weight is not None and weight.is_initializer() and str(weight.name).endswith(WEIGHT):
        is_shared = len(weight.uses()) > 1 and module in owners.values()
        return module if is_shared else str(weight.name).removesuffix(WEIGHT)
    return owners.get(scopes[-1], module) if scopes else ""


def _name_batch(model: onnx_ir.Model) -> None:
    """The symbol that the exporter made for the batch axis, as `batch`."""
    import onnx_ir

    symbol = next((str(dim) for value in model.graph.inputs for dim in (value.shape or ())[:1]), BATCH)
    values = [*model.graph.inputs, *(value for node in model.graph.all_nodes() for value in node.outputs)]
    for value in values:
        if value.shape is not None:
            value.shape = onnx_ir.Shape([BATCH if str(dim) == symbol else dim for dim in value.shape])


def _drop_notes(model: onnx_ir.Model) -> None:
    model.metadata_props.clear()
    model.graph.metadata_props.clear()
    values = [*model.graph.inputs, *model.graph.initializers.values()]
    for node in model.graph.all_nodes():
        node.metadata_props.clear()
        node.doc_string = None
        values.extend(node.outputs)
    for value in values:
        value.metadata_props.clear()
