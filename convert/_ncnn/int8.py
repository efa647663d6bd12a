"""Turns pnnx's float layers into ncnn's int8 ones, with the integers and scales of our own quantized graph.

ncnn's scheme is narrower than ours: a layer's input is symmetric (q = round(127 x / largest)), and only
convolutions and linear layers compute in int8, what is between them in float. So a range is widened to be
symmetric, and nothing is calibrated again.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import torch
from torch.fx import GraphModule, Node

from edgepress import graph
from edgepress.convert._ncnn.graph import NcnnLayer, parse, written
from edgepress.convert._ncnn.layers import WEIGHTED, weighted_pairs
from edgepress.convert._ncnn.pnnx import Converted
from edgepress.errors import UnsupportedModel
from edgepress.history import Value

FLOAT_TAG = (0).to_bytes(4, "little")
INT8_TAG = (0x000D4B38).to_bytes(4, "little")
"""In front of a layer's weights, how they are stored."""

INT8_SCALES, WITHOUT_WINOGRAD = "8=1", "31=64"
"""Parameters of a layer: scales follow its weights; and it takes no Winograd kernel, whose sums of int8 products
overflow with weights of more than six bits."""

GROUPS, OUTPUTS = 7, 0
UNEXECUTED = {"Input", "Split", "Noop"}
"""Layers that stand in the graph and do nothing."""
MOVING = {"Permute", "ShuffleChannel"}
"""Layers that only put values elsewhere."""
LARGEST = 127


@dataclass(frozen=True, eq=False)
class Integers:
    """A quantized layer's weight (int8) with one scale an output channel, and the largest absolute value that its
    input can take in int8."""

    weight: np.ndarray
    scales: np.ndarray
    largest_input: float

    def real(self) -> np.ndarray:
        """The weight in float32."""
        shape = (-1, *[1] * (self.weight.ndim - 1))
        weight: np.ndarray = self.weight.astype(np.float32) * self.scales.reshape(shape)
        return weight


def take_integers(module: GraphModule) -> dict[Node, Integers]:
    """Turn a quantized graph into its float twin, in place, and say what its quantized layers were."""
    taken = {}
    for node in list(graph.operators(module)):
        if node.target in graph.WEIGHTED and (integers := _integers(module, node)) is not None:
            taken[node] = integers
    for node in list(graph.operators(module)):
        if node.target is graph.DEQUANTIZE:
            (quantize,) = node.all_input_nodes
            node.replace_all_uses_with(quantize.all_input_nodes[0])
        elif node.target is graph.DEQUANTIZE_CHANNELS:
            _store_real(module, node)
    module.graph.eliminate_dead_code()
    module.recompile()
    return taken


def with_integers(made: Converted, module: GraphModule, taken: dict[Node, Integers]) -> Converted:
    """The file with those layers in int8 that ncnn has int8 kernels for.

    Raises UnsupportedModel when that is none of them.
    """
    layers = parse(made.graph)
    changed, pieces, place = {}, [], 0
    for layer, node in weighted_pairs(layers, module):
        if node not in taken or not _has_kernel(layer):
            continue
        stored = FLOAT_TAG + taken[node].real().tobytes()
        start = made.weights.find(stored, place)
        if start < 0:
            continue
        bias_bytes = 4 * layer.number(OUTPUTS) * _bias_term(layer)
        bias = made.weights[start + len(stored) : start + len(stored) + bias_bytes]
        pieces += [made.weights[place:start], _packed(taken[node], bias)]
        place = start + len(stored) + bias_bytes
        changed[layer.name] = dataclasses.replace(
            layer, parameters=(*layer.parameters, INT8_SCALES, WITHOUT_WINOGRAD)
        )
    if not changed:
        raise UnsupportedModel(
            "None of the quantized layers can be int8 in ncnn.",
            hint="convert the float network, or --to tflite",
        )
    text = written(changed.get(layer.name, layer) for layer in layers)
    return Converted(text, b"".join([*pieces, made.weights[place:]]))


def quality(text: str) -> dict[str, Value]:
    """How many layers there are, how many of them are transposes, and how many of those with weights
    compute in int8 and in float."""
    layers = parse(text)
    weighted = [layer for layer in layers if layer.type in WEIGHTED]
    integer = sum(INT8_SCALES in layer.parameters for layer in weighted)
    return {
        "operations": sum(layer.type not in UNEXECUTED for layer in layers),
        "transposes": sum(layer.type in MOVING for layer in layers),
        "int8_layers": integer,
        "float_layers": len(weighted) - integer,
    }


def _integers(module: GraphModule, node: Node) -> Integers | None:
    """None where the weight or the input is not quantized."""
    arguments = graph.arguments(node)
    source, weight = arguments["input"], arguments["weight"]
    if source.target is not graph.DEQUANTIZE or weight.target is not graph.DEQUANTIZE_CHANNELS:
        return None
    stored, scales = _stored(module, weight)
    _, scale, zero_point, least, most, *_ = source.args
    largest = scale * max(most - zero_point, zero_point - least)
    return Integers(stored.numpy(), scales.float().numpy(), float(largest))


def _store_real(module: GraphModule, node: Node) -> None:
    """A float weight under the name of the int8 one, in place of the node."""
    stored, axis = node.args[0], graph.arguments(node)["axis"]
    assert isinstance(stored, Node)
    weight, scale = _stored(module, node)
    shape = [1] * weight.ndim
    shape[axis] = -1
    if not weight.is_floating_point():  # a tied weight was stored for another layer already
        graph.set_constant(module, str(stored.target), weight.float() * scale.float().reshape(shape))
    stored.meta["val"] = torch.empty(weight.shape)
    node.replace_all_uses_with(stored)


def _stored(module: GraphModule, dequantize: Node) -> tuple[torch.Tensor, torch.Tensor]:
    """The int8 weight and its scales."""
    weight, scales = (graph.constant(module, part) for part in dequantize.args[:2])
    assert weight is not None, "a quantized weight is a buffer"
    assert scales is not None, "and so are its scales"
    return weight, scales


def _has_kernel(layer: NcnnLayer) -> bool:
    """Depthwise only where every channel is a group: otherwise ncnn has one scale for a whole group."""
    if layer.type == "ConvolutionDepthWise":
        return layer.number(GROUPS) == layer.number(OUTPUTS)
    return layer.type in ("Convolution", "InnerProduct")


def _bias_term(layer: NcnnLayer) -> int:
    return layer.number(1 if layer.type == "InnerProduct" else 5)


def _packed(integers: Integers, bias: bytes) -> bytes:
    """What ncnn reads of an int8 layer: the weight to a multiple of four bytes, the bias, the scales of both."""
    weight = integers.weight.tobytes()
    padding = bytes(-len(weight) % 4)
    scales = np.append(1 / integers.scales, LARGEST / integers.largest_input).astype("<f4")
    return INT8_TAG + weight + padding + bias + scales.tobytes()
