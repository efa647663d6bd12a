"""ONNX's own test cases of single operators, as the reader takes them: `import onnx_cases`."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.backend.test.case.node import collect_testcases

from edgepress.convert._onnx_reading import model as onnx_model
from edgepress.convert._onnx_reading.call import OPERATIONS
from edgepress.convert._onnx_reading.network import KNOWN_BEFOREHAND
from edgepress.convert._onnx_reading.passes import prepared

NOT_ONNX = {"Linear", "DequantizeStored"}
"""Names of our own, made by passes."""
KINDS = "fiub"
UNSIGNED = ("uint16", "uint32", "uint64")
"""PyTorch computes next to nothing in these."""
EXTRA_OUTPUTS = ("LayerNormalization", "Dropout")
"""What comes beside their first output, no inference reads."""
ASKED_FIRST = {"Range": 0, "ConstantOfShape": 0, "Clip": 1, "OneHot": 1, "Pad": 1, "LSTM": 1, "GRU": 1}
"""From which input on these are told how to compute, in numbers of any type."""


def types() -> list[str]:
    """Every operator that is read."""
    return sorted(set(OPERATIONS) - NOT_ONNX)


def ordinary(type: str) -> list[Any]:
    """The cases of one operator on types that PyTorch computes with."""
    return [case for case in _cases().get(type, []) if _is_ordinary(case)]


def read(
    case: Any, folder: Path, stored: bool = False
) -> tuple[onnx_model.Model, list[np.ndarray], list[np.ndarray]]:
    """The prepared model, its inputs, and the outputs expected of it. Inputs that say how to compute become constants,
    as they are in real files; with `stored` so do all but the first."""
    inputs, expected = ([np.asarray(value) for value in values] for values in case.data_sets[0])
    onnx.save(case.model, folder / "case.onnx")
    model = onnx_model.load(folder / "case.onnx")
    (operation,) = model.operations
    arrays = dict(zip((given.name for given in model.inputs), inputs, strict=True))
    constants = {
        name: value
        for name, value in arrays.items()
        if _is_how(operation, name, value) or (stored and name != operation.inputs[0])
    }
    kept = tuple(given for given in model.inputs if given.name not in constants)
    model = prepared(dataclasses.replace(model, inputs=kept, constants={**model.constants, **constants}))
    if operation.type in EXTRA_OUTPUTS:
        model, expected = dataclasses.replace(model, outputs=model.outputs[:1]), expected[:1]
    return model, [np.array(arrays[given.name]) for given in kept], expected


def save(
    path: Path,
    nodes: list[Any],
    constants: dict[str, np.ndarray],
    shape: list[Any],
    opset: int = 17,
    **domains: int,
) -> Path:
    """A file of a model from `x` of this shape to `y`; `domains` are those of other operators, with their versions."""
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    versions = [helper.make_opsetid(domain, version) for domain, version in {"": opset, **domains}.items()]
    onnx.save(helper.make_model(graph, opset_imports=versions, ir_version=10), path)
    return path


@functools.cache
def _cases() -> dict[str, list[Any]]:
    """The cases that consist of one operator we know, by that operator."""
    found: dict[str, list[Any]] = {}
    for case in collect_testcases(None):
        nodes = case.model.graph.node
        is_new = case.model.opset_import[0].version >= onnx_model.OLDEST_OPSET
        if is_new and len(nodes) == 1 and nodes[0].op_type in OPERATIONS and case.data_sets:
            found.setdefault(nodes[0].op_type, []).append(case)
    return found


def _is_how(operation: onnx_model.Operation, name: str, value: np.ndarray) -> bool:
    place = operation.inputs.index(name)
    if operation.type in ASKED_FIRST:
        return place >= ASKED_FIRST[operation.type]
    known = KNOWN_BEFOREHAND.get(operation.type, ())
    return name != operation.inputs[0] and (value.dtype.kind in "iu" or place in known)


def _is_ordinary(case: Any) -> bool:
    arrays = [np.asarray(value) for values in case.data_sets[0] for value in values]
    return all(array.dtype.kind in KINDS and array.dtype.name not in UNSIGNED for array in arrays)
