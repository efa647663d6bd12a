"""QuantizeLinear and DequantizeLinear, as the quantize and dequantize nodes that a quantized Program has."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from edgepress import graph
from edgepress.convert._onnx_reading.call import Call, Outcome, operation

SHIFT = 128
"""What turns uint8 into int8, zero point and numbers alike."""


@operation("QuantizeLinear")
def quantize(call: Call) -> Outcome:
    made: torch.Tensor = graph.QUANTIZE(call.tensor(0), *_scale(call), -128, 127, torch.int8)
    return made


@operation("DequantizeLinear")
def dequantize(call: Call) -> Outcome:
    numbers = call.tensor(0)
    if numbers.dtype == torch.uint8:
        numbers = (numbers.to(torch.int16) - SHIFT).to(torch.int8)
    made: torch.Tensor = graph.DEQUANTIZE(numbers, *_scale(call), -128, 127, torch.int8)
    return made


@operation("DequantizeStored")
def dequantize_stored(call: Call) -> Outcome:
    """Not ONNX's: `passes.py` has brought the stored int8 numbers, a scale a channel and zero points into this form."""
    numbers, scales, zeros = (call.tensor(position) for position in range(3))
    axis = call.attribute("axis", 0)
    made: torch.Tensor = graph.DEQUANTIZE_CHANNELS(numbers, scales, zeros, axis, -127, 127, torch.int8)
    return made


def _scale(call: Call) -> tuple[float, int]:
    """The scale and the zero point of int8 numbers; of uint8 ones, shifted."""
    scale: Any = call.known(1)
    zero_point = call.value(2)
    if np.size(scale) != 1:
        raise call.unsupported("quantizes an activation by channels")
    if isinstance(zero_point, np.ndarray) and zero_point.dtype not in (np.int8, np.uint8):
        raise call.unsupported(f"has numbers of type {zero_point.dtype}")
    zero = 0 if zero_point is None else int(np.reshape(call.known(2), -1)[0])
    is_int8 = isinstance(zero_point, np.ndarray) and zero_point.dtype == np.int8
    return float(np.reshape(scale, -1)[0]), zero if is_int8 else zero - SHIFT
