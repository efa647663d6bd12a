"""Operators of ONNX that x2paddle does not know, or misreads, as it reads them. Of opset 17, whose reductions have axes as
attributes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, helper, numpy_helper, shape_inference

IMAGE_AXES = [2, 3, 6, 7]
"""Where the amounts for height and width are among those of a 4-D tensor."""


def spell_out(model: ModelProto) -> None:
    """Do so in place; then x2paddle alone reads the model. The last node of each operator bears its layer's name."""
    nodes = list(model.graph.node)
    del model.graph.node[:]
    for node in nodes:
        if node.op_type == "HardSwish":
            model.graph.node.extend(_hard_swish(node))
        elif node.op_type == "LayerNormalization" and _axis(node) < 0 and len(node.output) == 1:
            model.graph.node.extend(_layer_norm(node, model.graph))
        else:
            model.graph.node.append(node)
    _write_shapes(model)
    _pad_images(model.graph)


def _write_shapes(model: ModelProto) -> None:
    """Of all tensors, as long as the file is ONNX: x2paddle finds none behind an operator that only itself can read."""
    inferred = shape_inference.infer_shapes(model, data_prop=True).graph.value_info
    del model.graph.value_info[:]
    model.graph.value_info.extend(inferred)


def _hard_swish(node: NodeProto) -> Iterator[NodeProto]:
    gate = f"{node.output[0]}/gate"
    yield helper.make_node("HardSigmoid", node.input, [gate], name=gate, alpha=1 / 6, beta=0.5)
    yield helper.make_node("Mul", [node.input[0], gate], node.output, name=node.name)


def _layer_norm(node: NodeProto, graph: GraphProto) -> Iterator[NodeProto]:
    """(x - mean) / sqrt(variance + epsilon), then scaled and moved."""
    value, *scaling = node.input
    epsilon = next((attribute.f for attribute in node.attribute if attribute.name == "epsilon"), 1e-5)
    graph.initializer.append(
        numpy_helper.from_array(np.array(epsilon, np.float32), f"{node.output[0]}/epsilon")
    )
    steps = [
        ("ReduceMean", [value], "mean"),
        ("Sub", [value, "mean"], "centred"),
        ("Mul", ["centred", "centred"], "square"),
        ("ReduceMean", ["square"], "variance"),
        ("Add", ["variance", "epsilon"], "sum"),
        ("Sqrt", ["sum"], "deviation"),
        ("Div", ["centred", "deviation"], "normal"),
    ]
    for kind, given in zip(("Mul", "Add"), scaling, strict=False):
        steps.append((kind, [steps[-1][2], given], kind))
    own = {output: f"{node.output[0]}/{output}" for _, _, output in steps}
    own |= {"epsilon": f"{node.output[0]}/epsilon", steps[-1][2]: node.output[0]}
    for kind, inputs, output in steps:
        made = own[output]
        step = helper.make_node(kind, [own.get(given, given) for given in inputs], [made], name=made)
        if kind == "ReduceMean":
            step.attribute.append(helper.make_attribute("axes", list(range(_axis(node), 0))))
        if made == node.output[0]:
            step.name = node.name
        yield step


def _pad_images(graph: GraphProto) -> None:
    """Zeros around height and width as four numbers: of the eight that ONNX has, x2paddle makes a layer that takes four,
    and Paddle writes beyond its memory."""
    stored = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Pad" and node.input[1] in stored:
            amounts = numpy_helper.to_array(stored[node.input[1]])
            if len(amounts) == 8 and not np.delete(amounts, IMAGE_AXES).any():
                node.input[1] = f"{node.output[0]}/amounts"
                graph.initializer.append(numpy_helper.from_array(amounts[IMAGE_AXES], node.input[1]))


def pads_with_more_than_zeros(node: NodeProto, graph: GraphProto) -> bool:
    """Whether this is a Pad with another value, or one that the network computes: x2paddle takes zeros for it."""
    name = (*node.input, "", "", "")[2] if node.op_type == "Pad" else ""
    value = next((tensor for tensor in graph.initializer if tensor.name == name), None)
    return bool(name) and (value is None or bool(numpy_helper.to_array(value).any()))


def pads_more_than_images(node: NodeProto, graph: GraphProto) -> bool:
    """Whether this is a Pad of four axes that `spell_out` has left as it was."""
    amounts = next((tensor for tensor in graph.initializer if tensor.name == (*node.input, "", "")[1]), None)
    return node.op_type == "Pad" and amounts is not None and list(amounts.dims) == [8]


def _axis(node: NodeProto) -> int:
    return next((attribute.i for attribute in node.attribute if attribute.name == "axis"), -1)
