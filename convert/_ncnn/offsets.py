"""Lets ncnn read an activation with the integers that our graph has, zero point and all.

ncnn's int8 is symmetric about zero. An activation whose range is not, as all behind a ReLU, would use half of the
integers; so a constant that lies on its grid is added before the layer that reads it, and what the weights make of
this constant is taken off the layer's bias. The border that a convolution puts around its input is then no longer zero,
and is put there by a layer of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from edgepress.convert._ncnn.graph import NcnnLayer

LEFT, TOP, RIGHT, BOTTOM = SIDES = 4, 14, 15, 16
"""The parameters with a convolution's border: what is not written is as on the other side, or as the left is."""


def inserted(layers: Iterable[NcnnLayer], offsets: Mapping[str, float]) -> Iterator[NcnnLayer]:
    """The graph with `offsets`, by layer's name, added to what these layers read."""
    layers = list(layers)
    readers = {blob: layer.name for layer in layers for blob in layer.inputs}
    done: set[str] = set()
    for layer in layers:
        if layer.type == "Split":
            wanted = {offsets.get(readers.get(blob, ""), 0.0) for blob in layer.outputs}
            offset = wanted.pop() if len(wanted) == 1 else 0.0  # once, where all readers want the same
            done.update(layer.outputs if offset else ())
        else:
            offset = offsets.get(layer.name, 0.0)
        if offset and layer.inputs[0] not in done:
            yield (added := _addition(layer, offset))
            layer = layer.reading(*added.outputs)
        if offset and layer.type != "Split" and any(_border(layer)):
            yield (padded := _padding(layer, offset))
            layer = layer.reading(*padded.outputs).having(dict.fromkeys(SIDES, 0))
        yield layer


def _addition(layer: NcnnLayer, offset: float) -> NcnnLayer:
    """Of a constant, to what the layer reads."""
    (blob,) = layer.inputs
    words = ("0=0", "1=1", f"2={offset:.9e}")
    return NcnnLayer("BinaryOp", f"{layer.name}.offset", (blob,), (f"{blob}_offset",), words)


def _padding(layer: NcnnLayer, value: float) -> NcnnLayer:
    """Around what the layer reads."""
    (blob,) = layer.inputs
    words = (*(f"{key}={width}" for key, width in enumerate(_border(layer))), "4=0", f"5={value:.9e}")
    return NcnnLayer("Padding", f"{layer.name}.border", (blob,), (f"{blob}_border",), words)


def _border(layer: NcnnLayer) -> tuple[int, int, int, int]:
    """Top, bottom, left and right."""
    if layer.type == "InnerProduct":
        return 0, 0, 0, 0
    left = layer.number(LEFT)
    top, right = layer.number(TOP, left), layer.number(RIGHT, left)
    return top, layer.number(BOTTOM, top), left, right
