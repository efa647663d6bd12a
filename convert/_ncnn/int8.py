"""Turns pnnx's float layers into ncnn's int8 ones, with the integers and scales of our own quantized graph.

Only convolutions and linear layers compute in int8, what is between them in float.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from torch.fx import Node

from edgepress.convert._ncnn.graph import NcnnLayer, parse, written
from edgepress.convert._ncnn.integers import Integers
from edgepress.convert._ncnn.layers import WEIGHTED, Pairs
from edgepress.convert._ncnn.offsets import inserted
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


def with_integers(made: Converted, pairs: Pairs, taken: dict[Node, Integers]) -> Converted:
    """The file with those layers in int8 that ncnn has int8 kernels for.

    Raises UnsupportedModel when that is none of them.
    """
    changed, offsets, pieces, place = {}, {}, [], 0
    for layer, node in pairs:
        if node not in taken or not _has_kernel(layer):
            continue
        stored = FLOAT_TAG + taken[node].real().tobytes()
        start = made.weights.find(stored, place)
        if start < 0:
            continue
        end = start + len(stored)
        bias = np.frombuffer(made.weights, "<f4", layer.number(OUTPUTS) * _has_bias(layer), end)
        pieces += [made.weights[place:start], _packed(taken[node], bias)]
        place = end + bias.nbytes
        offsets[layer.name] = taken[node].offset
        changed[layer.name] = _in_int8(layer, has_bias=len(bias) > 0 or offsets[layer.name] != 0)
    if not changed:
        raise UnsupportedModel(
            "None of the quantized layers can be int8 in ncnn.",
            hint="convert the float network, or --to tflite",
        )
    text = written(inserted((changed.get(layer.name, layer) for layer in parse(made.graph)), offsets))
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


def _has_kernel(layer: NcnnLayer) -> bool:
    """Depthwise only where every channel is a group: otherwise ncnn has one scale for a whole group."""
    if layer.type == "ConvolutionDepthWise":
        return layer.number(GROUPS) == layer.number(OUTPUTS)
    return layer.type in ("Convolution", "InnerProduct")


def _has_bias(layer: NcnnLayer) -> int:
    return layer.number(_bias_key(layer))


def _bias_key(layer: NcnnLayer) -> int:
    return 1 if layer.type == "InnerProduct" else 5


def _in_int8(layer: NcnnLayer, *, has_bias: bool) -> NcnnLayer:
    biased = layer.having({_bias_key(layer): int(has_bias)})
    return dataclasses.replace(biased, parameters=(*biased.parameters, INT8_SCALES, WITHOUT_WINOGRAD))


def _packed(integers: Integers, bias: np.ndarray) -> bytes:
    """What ncnn reads of an int8 layer: the weight to a multiple of four bytes, the bias, the scales of both."""
    weight = integers.weight.tobytes()
    padding = bytes(-len(weight) % 4)
    if integers.input_zero_point:
        bias = (bias if len(bias) else 0) - integers.moved_bias
    scales = np.append(1 / integers.scales, 1 / integers.input_scale).astype("<f4")
    return INT8_TAG + weight + padding + bias.astype("<f4").tobytes() + scales.tobytes()
