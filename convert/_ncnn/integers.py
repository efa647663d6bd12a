"""The integers of a quantized graph, as ncnn's int8 layers take them: the weights as they are, the inputs on a grid that is
symmetric about zero (-127 to 127).

A range is widened to be symmetric where that costs little; elsewhere the input is moved (`offsets.py`). Nothing is
calibrated again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch.fx import GraphModule, Node

from edgepress import graph

LARGEST = 127
COARSER = 1.2
"""How much coarser the steps of a widened range may be: an error greater by 1.6 dB. Moving the input is exact, but one
more layer that goes through all of it."""
ZEROS_OF_FEW_BITS = frozenset(128 - 2**bits for bits in range(1, 7))
"""The zero points of activations with 1 to 6 bits, which lie on the highest integers of int8, whose end clips them."""


@dataclass(frozen=True, eq=False)
class Integers:
    """A quantized layer's weight (int8) with one scale an output channel, the scale of the integers that its input
    becomes, and which of these stands for zero."""

    weight: np.ndarray
    scales: np.ndarray
    input_scale: float
    input_zero_point: int

    @property
    def offset(self) -> float:
        """What the input is moved by."""
        return self.input_zero_point * self.input_scale

    @property
    def moved_bias(self) -> np.ndarray:
        """What moving the input takes off each output channel."""
        sums = self.weight.reshape(len(self.weight), -1).sum(1, dtype=np.int64)
        moved: np.ndarray = (self.offset * self.scales * sums).astype("<f4")
        return moved

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
            _keep_few(module, node, [user for user in node.users if user not in taken])
            (quantize,) = node.all_input_nodes
            node.replace_all_uses_with(quantize.all_input_nodes[0])
        elif node.target is graph.DEQUANTIZE_CHANNELS:
            _store_real(module, node)
    module.graph.eliminate_dead_code()
    module.recompile()
    return taken


def _integers(module: GraphModule, node: Node) -> Integers | None:
    """None where the weight or the input is not quantized, or ncnn has no int8 kernel for the layer: that reads floats."""
    arguments = graph.arguments(node)
    source, weight = arguments["input"], arguments["weight"]
    if (
        not _has_kernel(node)
        or source.target is not graph.DEQUANTIZE
        or weight.target is not graph.DEQUANTIZE_CHANNELS
    ):
        return None
    stored, scales = (tensor.float().numpy() for tensor in _stored(module, weight))
    grid = _grid(*_code(source)[:2], depthwise=arguments.get("groups", 1) > 1)
    return Integers(stored.astype(np.int8), scales, *grid)


def _has_kernel(node: Node) -> bool:
    """Linear layers and convolutions of pictures have one: in groups only where every channel is a group."""
    groups = graph.arguments(node).get("groups", 1)
    return graph.op_name(node) in ("linear", "conv2d") and groups in (1, graph.shape(node)[-3:][0])


def _grid(scale: float, zero_point: int, *, depthwise: bool) -> tuple[float, int]:
    """The scale and the zero point of ncnn's integers, -127 to 127. Moved, they are ours but for -128; where this is zero, all are one
    higher, and the highest is lost instead.

    A depthwise layer multiplies each number only a few times: moving would cost MobileNet v2 a tenth of its time, and bring
    nothing that could be measured. Only activations of few bits have to end where int8 ends.
    """
    coarser = (LARGEST + abs(zero_point)) / LARGEST
    if coarser <= COARSER or (depthwise and zero_point not in ZEROS_OF_FEW_BITS):
        return coarser * scale, 0
    return scale, max(zero_point, -LARGEST)


def _keep_few(module: GraphModule, dequantize: Node, readers: list[Node]) -> None:
    """Round for these readers in float what few bits are left of; 8 bits are as good as none, to them.

    Those that only choose among what is rounded need it no more than the layers that round it again behind them.
    """
    scale, zero_point, least, most = _code(dequantize)
    adding = [reader for reader in readers if not _is_rounded_alike(reader, dequantize)]
    if zero_point not in ZEROS_OF_FEW_BITS or not adding:
        return
    (quantize,) = dequantize.all_input_nodes
    value = quantize.all_input_nodes[0]
    with module.graph.inserting_before(dequantize):
        for function, arguments in (
            (torch.mul, (1 / scale,)),
            (torch.round, ()),
            (torch.clamp, (least - zero_point, most - zero_point)),
            (torch.mul, (scale,)),
        ):
            value = module.graph.call_function(function, (value, *arguments))
            value.meta["val"] = dequantize.meta["val"]
    for reader in adding:
        reader.replace_input_with(dequantize, value)


def _is_rounded_alike(reader: Node, dequantize: Node) -> bool:
    """Whether what it gives has the same steps."""
    return bool(reader.users) and all(
        user.target is graph.QUANTIZE and _code(user) == _code(dequantize) for user in reader.users
    )


def _code(node: Node) -> tuple[float, int, int, int]:
    """Of a quantize or a dequantize: scale, zero point, lowest and highest integer."""
    return cast("tuple[float, int, int, int]", node.args[1:5])


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
