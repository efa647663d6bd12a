"""A TFLite file that gives what its layers gave, beside its outputs."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

from ai_edge_litert import schema_py_generated as schema

OUTPUTS_FIELD = 8
"""Where a SubGraph's table says at which offset its list of outputs lies: the third field of the schema."""
NAMES = {code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}


@dataclass(frozen=True)
class Tap:
    """The file's tensor number `index` holds what `layer` gave."""

    layer: str
    type: str
    index: int


def tapped(content: bytes) -> tuple[bytes, tuple[Tap, ...]]:
    """The file with each layer's result among its outputs, and where they are.

    A layer's result bears the layer's name (and `:2` where that is taken); what was made on the way to it has more
    behind a slash. Nothing in the file moves: the longer list of outputs is put at its end.
    """
    model = schema.Model.GetRootAs(content, 0)
    graph = model.Subgraphs(0)
    taps = tuple(_taps(model, graph))
    outputs = [graph.Outputs(place) for place in range(graph.OutputsLength())]
    outputs += dict.fromkeys(tap.index for tap in taps if tap.index not in outputs)
    field = graph._tab.Pos + graph._tab.Offset(OUTPUTS_FIELD)
    changed = bytearray(content)
    changed += bytes(-len(changed) % 4)
    struct.pack_into("<I", changed, field, len(changed) - field)
    changed += struct.pack(f"<I{len(outputs)}i", len(outputs), *outputs)
    return bytes(changed), taps


def operators(content: bytes) -> list[tuple[str, str]]:
    """Of each of the file's operators, in execution order: the layer that it belongs to, and its type."""
    model = schema.Model.GetRootAs(content, 0)
    graph = model.Subgraphs(0)
    return [
        (_name(graph, operator).partition("/")[0], _kind(model, operator)) for operator in _in_order(graph)
    ]


def _taps(model: Any, graph: Any) -> list[Tap]:
    found = []
    for operator in _in_order(graph):
        index, name = operator.Outputs(0), _name(graph, operator)
        if "/" not in name and graph.Tensors(index).Type() in (
            schema.TensorType.FLOAT32,
            schema.TensorType.INT8,
        ):
            found.append(Tap(name, _kind(model, operator), index))
    return found


def _in_order(graph: Any) -> list[Any]:
    return [graph.Operators(place) for place in range(graph.OperatorsLength())]


def _name(graph: Any, operator: Any) -> str:
    """Of the operator's result, without the `:2` that tells results of one name apart."""
    name: str = graph.Tensors(operator.Outputs(0)).Name().decode()
    return name.partition(":")[0]


def _kind(model: Any, operator: Any) -> str:
    code = model.OperatorCodes(operator.OpcodeIndex())
    kind: str = NAMES[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())]
    return kind
