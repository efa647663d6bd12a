"""An ONNX file as x2paddle takes it: of an older version and its operators, with every bias, without attributes that say nothing."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, helper, numpy_helper

from edgepress.convert._paddle.spelt import spell_out
from edgepress.errors import UnsupportedModel

IR_VERSION = 9
"""The newest that onnx 1.15 reads; nothing that our files hold came later."""

OPSET = 17
"""The last in which reductions have their axes where x2paddle looks for them."""

NO_BIAS = "no_bias"
"""What a linear layer without a bias adds: x2paddle knows none without."""

UNCHANGED = {"Pad"}
"""Operators that onnx converts to no older version, though what our files hold of them has not changed since."""

ASIDE = "edgepress.aside"
"""The domain in which they wait meanwhile."""

SOURCE_PLACE = re.compile(r"\S+:\d+: (\w+: Assertion `.*?` failed: )?")
"""Where in its own source the version converter fails, which helps no user."""


def older(source: Path) -> ModelProto:
    """The same model. Raises UnsupportedModel for an operator that the older version lacks."""
    model = onnx.load(source)
    _slice_splits(model)
    _set_aside(model)
    try:
        model = onnx.version_converter.convert_version(model, OPSET)
    except (RuntimeError, ValueError) as error:
        raise UnsupportedModel(
            f"x2paddle reads ONNX opset {OPSET}, which this network is too new for: "
            f"{SOURCE_PLACE.sub('', str(error))}",
            hint="--to onnx or --to tflite",
        ) from error
    _take_back(model)
    spell_out(model)
    model.ir_version = min(model.ir_version, IR_VERSION)
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(1, np.float32), NO_BIAS))
    for node in model.graph.node:
        if node.op_type == "Gemm" and len(node.input) == 2:
            node.input.append(NO_BIAS)
        for attribute in list(node.attribute):
            if attribute.name == "noop_with_empty_axes" or _is_dense_pooling(node.op_type, attribute):
                node.attribute.remove(attribute)
    return model


def _set_aside(model: ModelProto) -> None:
    for node in model.graph.node:
        if node.op_type in UNCHANGED:
            node.domain = ASIDE
    model.opset_import.append(helper.make_opsetid(ASIDE, 1))


def _take_back(model: ModelProto) -> None:
    for node in model.graph.node:
        if node.domain == ASIDE:
            node.domain = ""
    kept = [opset for opset in model.opset_import if opset.domain != ASIDE]
    del model.opset_import[:]
    model.opset_import.extend(kept)


def _slice_splits(model: ModelProto) -> None:
    """A slice for each piece of a split: onnx converts no Split to an older version."""
    inferred = onnx.shape_inference.infer_shapes(model).graph
    nodes = list(model.graph.node)
    del model.graph.node[:]
    for node in nodes:
        sizes = _sizes(node, inferred) if node.op_type == "Split" else None
        model.graph.node.extend([node] if sizes is None else _slices(model.graph, node, sizes))


def _sizes(split: NodeProto, graph: GraphProto) -> Sequence[int] | None:
    """How long each piece is along the axis; None where the file does not tell."""
    shapes = {value.name: value.type.tensor_type.shape.dim for value in (*graph.value_info, *graph.output)}
    if not all(len(shapes.get(piece, ())) > _axis(split) >= 0 for piece in split.output):
        return None
    along = [shapes[piece][_axis(split)] for piece in split.output]
    return [size.dim_value for size in along] if all(size.HasField("dim_value") for size in along) else None


def _slices(graph: GraphProto, split: NodeProto, sizes: Sequence[int]) -> Iterator[NodeProto]:
    ends = list(itertools.accumulate(sizes))
    for piece, size, end in zip(split.output, sizes, ends, strict=True):
        bounds = {"starts": end - size, "ends": end, "axes": _axis(split)}
        graph.initializer.extend(
            numpy_helper.from_array(np.array([value], np.int64), f"{piece}/{name}")
            for name, value in bounds.items()
        )
        names = [f"{piece}/{name}" for name in bounds]
        yield helper.make_node("Slice", [split.input[0], *names], [piece], name=piece)


def _axis(split: NodeProto) -> int:
    return next((attribute.i for attribute in split.attribute if attribute.name == "axis"), 0)


def _is_dense_pooling(kind: str, attribute: AttributeProto) -> bool:
    """Dilations of 1, which x2paddle takes for others."""
    return kind == "MaxPool" and attribute.name == "dilations" and set(attribute.ints) == {1}
