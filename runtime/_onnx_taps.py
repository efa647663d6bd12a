"""An ONNX file that gives what its layers gave, beside its outputs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import onnx
from onnx import NodeProto

QUANTIZE, DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"
COMPUTE_NOTHING = {QUANTIZE, DEQUANTIZE, "Constant"}
CLAMPS = {"Relu", "Clip"}
"""What the runtime executes with the layer before when it computes in integers."""


@dataclass(frozen=True)
class Tap:
    """`tensor` holds what `layer` gave."""

    layer: str
    type: str
    tensor: str


def tapped(path: Path) -> tuple[bytes, tuple[Tap, ...]]:
    """The file with each layer's result among its outputs, and where they are. Nodes are named `<layer>/<type>`.

    Where a result (clamped perhaps) goes on in 8 bits alone, it is taken behind them: the runtime then executes the
    layer in integers, as it does in the file itself.
    """
    model = onnx.load(path)
    readers: dict[str, list[NodeProto]] = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    taps: dict[str, Tap] = {}
    for node in model.graph.node:
        layer = node.name.rpartition("/")[0]
        if layer and node.op_type not in COMPUTE_NOTHING:
            name = _behind_clamp(node.output[0], readers)
            taps.setdefault(name, Tap(layer, node.op_type, name))
    outputs = {value.name for value in model.graph.output}
    new = [name for name in taps if name not in outputs]
    model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in new)
    return model.SerializeToString(), tuple(taps.values())


def _behind_clamp(name: str, readers: dict[str, list[NodeProto]]) -> str:
    """Behind the quantizer, and behind a clamp that stands before that alone; else the name itself."""
    if (behind := _behind_quantizer(name, readers)) != name:
        return behind
    found = readers.get(name, [])
    if len(found) != 1 or found[0].op_type not in CLAMPS:
        return name
    clamped = found[0].output[0]
    behind = _behind_quantizer(clamped, readers)
    return name if behind == clamped else behind


def _behind_quantizer(name: str, readers: dict[str, list[NodeProto]]) -> str:
    """The same value after quantize and dequantize, where nothing else reads it; else its own name."""
    quantizers = readers.get(name, [])
    if not quantizers or any(node.op_type != QUANTIZE for node in quantizers):
        return name
    behind = (node for node in readers.get(quantizers[0].output[0], []) if node.op_type == DEQUANTIZE)
    return next((node.output[0] for node in behind), name)
