"""From a float weight to int8 with one scale for each output channel, symmetric about zero."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch.nn import functional

from edgepress.compress._quantization.ranges import SMALLEST_SCALE, Range

Granularity = Literal["per_channel", "per_tensor"]
Headroom = Literal["none", "auto", "all"]

WEIGHT_LIMIT = 127
"""-128 stays unused: then the negative of every weight has an integer too, as integer kernels want it."""

PAIR_LIMIT = 128
"""What two neighbouring weights of one sign may add up to where the int16 sum of their products with uint8
activations must not saturate: 255 x 128 still fits."""

BIAS_LIMIT = 2**30
"""A bias becomes an int32 in steps of input scale x weight scale: this much of it leaves room to add on."""


@dataclass(frozen=True)
class WeightOptions:
    """One scale for each channel or for all; and for which inputs the weights keep `headroom` (see QuantizeStatic)."""

    granularity: Granularity = "per_channel"
    headroom: Headroom = "auto"


@dataclass(frozen=True)
class QuantizedWeight:
    """`values` int8 in the weight's shape (output channels first), `scales` float32, one for each output channel."""

    values: torch.Tensor
    scales: torch.Tensor


def quantize_weight(
    weight: torch.Tensor, bias: torch.Tensor | None, inputs: Range, options: WeightOptions
) -> QuantizedWeight:
    """Round to nearest; the largest weight of a channel becomes 127, or less where it needs headroom.

    A scale is never zero: dead channels get their layer's largest. It grows where the bias, in steps of
    input scale x weight scale, would not fit int32.
    """
    weight = weight.detach().double()
    scales = weight.flatten(1).abs().amax(1) / WEIGHT_LIMIT
    needed = options.headroom == "all" or (options.headroom == "auto" and inputs.minimum < 0)
    if needed and not inputs.low_half:
        # Half a step for each of the two: rounding must not lift a pair over its limit.
        scales = torch.maximum(scales, _largest_pair(weight) / (PAIR_LIMIT - 1))
    if options.granularity == "per_tensor":
        scales = scales.amax().expand(len(scales)).clone()
    scales[scales == 0] = float(scales.max()) or 1.0
    if bias is not None:
        scales = torch.maximum(scales, bias.detach().double().abs() / (inputs.scale * BIAS_LIMIT))
    scales = scales.clamp(min=SMALLEST_SCALE).float()
    steps = scales.double().view(-1, *[1] * (weight.dim() - 1))
    return QuantizedWeight((weight / steps).round().clamp(-WEIGHT_LIMIT, WEIGHT_LIMIT).to(torch.int8), scales)


def bias_shift(weight: torch.Tensor, result: QuantizedWeight, means: torch.Tensor) -> torch.Tensor:
    """What rounding the weight adds to each output channel on average, for inputs with these channel `means`
    (Nagel et al., 2019, section 4.2): to be taken off the bias. Padding counts as the mean."""
    steps = result.scales.double().view(-1, *[1] * (weight.dim() - 1))
    error = (
        (result.values * steps - weight.detach().double()).flatten(2).sum(2)
        if weight.dim() > 2
        else (result.values * steps - weight.detach().double())
    )
    groups = means.numel() // error.shape[1]
    rows = means.double().view(groups, 1, -1).expand(-1, len(error) // groups, -1).reshape(len(error), -1)
    return (error * rows).sum(1)


def _largest_pair(weight: torch.Tensor) -> torch.Tensor:
    """The largest sum of two neighbours of one sign in each output channel.

    Neighbours are input channels 2i and 2i+1 of one kernel position: kernels run over input channels first.
    Depthwise kernels, with a single input channel, add in int32.
    """
    if weight.dim() > 2 and weight.shape[1] == 1:
        return torch.zeros(len(weight), dtype=weight.dtype)
    rows = weight.movedim(1, -1).flatten(1)
    pairs = functional.pad(rows, (0, rows.shape[1] % 2)).unflatten(1, (-1, 2))
    positive, negative = pairs.clamp(min=0).sum(2), (-pairs).clamp(min=0).sum(2)
    return torch.maximum(positive.amax(1), negative.amax(1))
