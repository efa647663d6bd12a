"""Says to MNN's converter which layers compute in int8, with the scales of our own quantized graph.

MNN calls the text compression parameters. A layer is found by the name of its output, whatever was fused into it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from edgepress.convert._mnn.convert import MnnLayer
from edgepress.convert._onnx_writing.float_twin import LEAST, ActivationScale, WeightedLayer

MOST = 127
FROM_LINEAR = "__matmul_converted"
"""What MNN appends to the output's name, which becomes the layer's, where it makes a convolution of a linear layer."""


def matched(
    layers: Sequence[WeightedLayer], made: Sequence[MnnLayer]
) -> list[tuple[WeightedLayer, MnnLayer]]:
    """Our quantized layers and MNN's, by name. What MNN splits or leaves as a matrix product stays in float."""
    by_name = {layer.name: layer for layer in made}
    pairs = (
        (layer, by_name.get(layer.name) or by_name.get(layer.output_name + FROM_LINEAR)) for layer in layers
    )
    return [(layer, found) for layer, found in pairs if found is not None]


def compression_parameters(pairs: Sequence[tuple[WeightedLayer, MnnLayer]]) -> str:
    """The JSON that the converter reads."""
    layers = [
        {
            "input": [_activation("input", ours.input)],
            "weight": [_weight(ours, theirs)],
            "output": [_activation(theirs.output, ours.output)],
        }
        for ours, theirs in pairs
    ]
    return json.dumps({"version": "0.0.0", "algo": [{"type": "QUANTIZE", "quantParams": {"layer": layers}}]})


def _activation(name: str, code: ActivationScale) -> dict[str, Any]:
    return {
        "name": name,
        "scales": [code.scale],
        "zeroPoint": code.zero_point,
        "clampMin": LEAST,
        "clampMax": MOST,
    }


def _weight(ours: WeightedLayer, theirs: MnnLayer) -> dict[str, Any]:
    scales = np.broadcast_to(ours.weight_scales, theirs.channels)
    return {
        "name": ours.name,
        "scales": [float(scale) for scale in scales],
        "clampMin": LEAST,
        "clampMax": MOST,
    }
