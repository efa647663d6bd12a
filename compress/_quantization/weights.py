"""From a float weight to small integers with one scale for each output channel, symmetric about zero."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch.nn import functional

from edgepress.compress._quantization.bits import Bits
from edgepress.compress._quantization.ranges import SMALLEST_SCALE, Range

Granularity = Literal["per_channel", "per_tensor"]
Headroom = Literal["none", "auto", "all"]
WeightRange = Literal["minmax", "mse"]

PAIR_LIMIT = 128
"""What two neighbouring weights of one sign may add up to where the int16 sum of their products with uint8
activations must not saturate: 255 x 128 still fits."""

BIAS_LIMIT = 2**30
"""A bias becomes an int32 in steps of input scale x weight scale: this much of it leaves room to add on."""

CLIPPED_SHARES = np.linspace(1.0, 0.3, 36).tolist()
"""The shares of a channel's largest weight that are tried as its end: 4 bits want about a half, 8 bits nearly all."""

AT_ONCE = 1 << 17
"""Weights that are tried together: as many as a processor's cache holds in float64, of hundreds of millions."""


@dataclass(frozen=True)
class WeightOptions:
    """The bits of a weight; a scale for each channel or for all; whether all weights are covered or the squared
    error is least; and for which inputs the weights keep `headroom` (see QuantizeStatic)."""

    granularity: Granularity = "per_channel"
    headroom: Headroom = "auto"
    ranges: WeightRange = "minmax"
    bits: Bits = Bits()

    def keeps_headroom(self, inputs: Range) -> bool:
        """Whether neighbouring weights must stay under PAIR_LIMIT where the layer reads `inputs`."""
        asked = self.headroom == "all" or (self.headroom == "auto" and inputs.minimum < 0)
        return asked and not inputs.low_half


@dataclass(frozen=True)
class QuantizedWeight:
    """`values` int8 in the weight's shape (output channels first), `scales` float32, one for each output channel, or
    in rows of one for every `group_size` inputs of it; no value is larger than `limit`."""

    values: torch.Tensor
    scales: torch.Tensor
    limit: int = Bits().weight_limit

    @property
    def group_size(self) -> int | None:
        """None where an output channel has one scale."""
        return None if self.scales.dim() == 1 else self.values.shape[1] // self.scales.shape[1]

    def of(self, channels: torch.Tensor) -> QuantizedWeight:
        """These output channels alone."""
        return QuantizedWeight(self.values[channels], self.scales[channels], self.limit)

    def restored(self) -> torch.Tensor:
        """The float64 weight that the integers stand for."""
        return self.values * beside(self.scales.double(), self.values)


def quantize_weight(
    weight: torch.Tensor, bias: torch.Tensor | None, inputs: Range, options: WeightOptions
) -> QuantizedWeight:
    """Round to nearest, with the scales of `weight_scales`."""
    return nearest(weight, weight_scales(weight, bias, inputs, options), options.bits.weight_limit)


def nearest(weight: torch.Tensor, scales: torch.Tensor, limit: int) -> QuantizedWeight:
    """Every weight becomes the integer next to it."""
    few = channels_at_once(weight)
    integers = [
        (rows.double() / beside(steps.double(), rows)).round_().clamp_(-limit, limit).to(torch.int8)
        for rows, steps in zip(weight.detach().split(few), scales.split(few), strict=True)
    ]
    return QuantizedWeight(torch.cat(integers), scales, limit)


def weight_scales(
    weight: torch.Tensor, bias: torch.Tensor | None, inputs: Range, options: WeightOptions
) -> torch.Tensor:
    """One float32 scale for each output channel: its largest weight, or the best end, becomes the largest integer,
    or less where it needs headroom.

    A scale is never zero: dead channels get their layer's largest. It grows where the bias, in steps of
    input scale x weight scale, would not fit int32.
    """
    weight, limit = weight.detach(), options.bits.weight_limit
    rows = weight.flatten(1)
    scales = torch.maximum(rows.amax(1), -rows.amin(1)).double() / limit
    if options.granularity == "per_tensor":
        scales = scales.amax().expand(len(scales)).clone()
    if options.ranges == "mse":
        scales = _least_error(weight, scales, limit, options.granularity)
    if options.keeps_headroom(inputs):
        # Half a step for each of the two: rounding must not lift a pair over its limit.
        room = _largest_pair(weight.double()) / (PAIR_LIMIT - 1)
        scales = torch.maximum(scales, room if options.granularity == "per_channel" else room.amax())
    scales[scales == 0] = float(scales.max()) or 1.0
    if bias is not None:
        scales = torch.maximum(scales, bias.detach().double().abs() / (inputs.scale * BIAS_LIMIT))
    return scales.clamp(min=SMALLEST_SCALE).float()


def _least_error(
    weight: torch.Tensor, scales: torch.Tensor, limit: int, granularity: Granularity
) -> torch.Tensor:
    """Of the tried shares of each scale the one whose rounded and clipped weights are the nearest in squares."""
    tried = (scales * torch.tensor(CLIPPED_SHARES, dtype=scales.dtype)[:, None]).clamp(min=SMALLEST_SCALE)
    few = channels_at_once(weight)
    parts = zip(weight.flatten(1).split(few), tried.split(few, 1), strict=True)
    errors = torch.cat([_errors(rows.double(), steps, limit) for rows, steps in parts], 1)
    if granularity == "per_tensor":
        errors = errors.sum(1, keepdim=True).expand_as(errors)
    best = tried.gather(0, errors.argmin(0, keepdim=True))[0]
    return torch.where(scales == 0, scales, best)


def _errors(rows: torch.Tensor, tried: torch.Tensor, limit: int) -> torch.Tensor:
    """The squared errors of channels, a row each, for each of their scales: shares x channels."""
    errors = torch.empty_like(tried)
    for number, steps in enumerate(tried[..., None]):
        made = (rows / steps).round_().clamp_(-limit, limit).mul_(steps)
        errors[number] = made.sub_(rows).square_().sum(1)
    return errors


def channels_at_once(weight: torch.Tensor) -> int:
    """How many output channels of a weight are worked on together, where each stands for itself."""
    return max(1, AT_ONCE * len(weight) // max(1, weight.numel()))


def bias_shift(weight: torch.Tensor, result: QuantizedWeight, means: torch.Tensor) -> torch.Tensor:
    """What rounding the weight adds to each output channel on average, for inputs with these channel `means`
    (Nagel et al., 2019, section 4.2): to be taken off the bias. Padding counts as the mean."""
    groups = means.numel() // weight.shape[1]
    rows, shifts = means.double().view(groups, -1), []
    for some in torch.arange(len(weight)).split(channels_at_once(weight)):
        error = result.of(some).restored() - weight.detach()[some].double()
        error = error.flatten(2).sum(2) if weight.dim() > 2 else error
        shifts.append((error * rows[some * groups // len(weight)]).sum(1))
    return torch.cat(shifts)


def pairs_fit(values: torch.Tensor) -> torch.Tensor:
    """For each output channel whether no two neighbours of one sign add up to more than PAIR_LIMIT."""
    return _largest_pair(values.double()) <= PAIR_LIMIT


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


def beside(scales: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """One number for each output channel in a shape that multiplies the weight."""
    return scales.view(-1, *[1] * (weight.dim() - 1))
