"""QuantizeLinear and DequantizeLinear, as the quantize and dequantize nodes that a quantized Program has."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from edgepress import graph
from edgepress.convert._onnx_reading.call import Call, Outcome, operation

SHIFT = 128
"""What turns uint8 into int8, zero point and numbers alike."""

SIGNED = frozenset({np.dtype(np.int8), np.dtype(np.int16)})


@operation("QuantizeLinear")
def quantize(call: Call) -> Outcome:
    made: torch.Tensor = graph.QUANTIZE(call.tensor(0), *_scale(call), *_integers(call))
    return made


@operation("DequantizeLinear")
def dequantize(call: Call) -> Outcome:
    numbers = call.tensor(0)
    if numbers.dtype == torch.uint8:
        numbers = (numbers.to(torch.int16) - SHIFT).to(torch.int8)
    made: torch.Tensor = graph.DEQUANTIZE(numbers, *_scale(call), *_integers(call))
    return made


@operation("DequantizeStored")
def dequantize_stored(call: Call) -> Outcome:
    """Not ONNX's: `passes.py` has brought the stored int8 numbers, a scale a channel and zero points into this form."""
    numbers, scales, zeros = (call.tensor(position) for position in range(3))
    axis, limit = call.attribute("axis", 0), call.attribute("limit", 127)
    made: torch.Tensor = graph.DEQUANTIZE_CHANNELS(numbers, scales, zeros, axis, -limit, limit, torch.int8)
    return made


def _scale(call: Call) -> tuple[float, int]:
    """The scale and the zero point of int8 or int16 numbers; of uint8 ones, shifted."""
    scale: Any = call.known(1)
    zero_point = call.value(2)
    if np.size(scale) != 1:
        raise call.unsupported("quantizes an activation by channels")
    if isinstance(zero_point, np.ndarray) and zero_point.dtype not in SIGNED | {np.dtype(np.uint8)}:
        raise call.unsupported(f"has numbers of type {zero_point.dtype}")
    zero = 0 if zero_point is None else int(np.reshape(call.known(2), -1)[0])
    is_signed = isinstance(zero_point, np.ndarray) and zero_point.dtype in SIGNED
    return float(np.reshape(scale, -1)[0]), zero if is_signed else zero - SHIFT


def _integers(call: Call) -> tuple[int, int, torch.dtype]:
    """The lowest and the highest of the type that a quantized Program has for these numbers, and that type."""
    zero_point = call.value(2)
    is_wide = isinstance(zero_point, np.ndarray) and zero_point.dtype == np.int16
    return (-(1 << 15), (1 << 15) - 1, torch.int16) if is_wide else (-128, 127, torch.int8)
