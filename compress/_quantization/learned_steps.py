"""Rounding that lets gradients through, to the values and to the step between two integers (LSQ).

Esser, McKinstry, Bablani, Appuswamy and Modha (2020), Learned Step Size Quantization.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd.function import once_differentiable


def fake_quantize(
    values: torch.Tensor, share: torch.Tensor, calibrated: torch.Tensor, low: int, high: int
) -> torch.Tensor:
    """What integers between `low` and `high`, zero standing for 0.0, leave of `values` (N, ...), as float32.

    The step is `share` x `calibrated`: scalars, or one number for each entry of the first axis.
    """
    step: torch.Tensor = _Step.apply(share, calibrated)  # type: ignore[no-untyped-call]  # PyTorch's own is not annotated
    if step.dim():
        step = step.view(-1, *[1] * (values.dim() - 1))
    made: torch.Tensor = _Rounded.apply(values.float(), step, low, high)  # type: ignore[no-untyped-call]  # the same
    return made


class _Step(torch.autograd.Function):
    """The step as a share of the calibrated one. The share's gradient is the step's over the calibrated step: so plain
    gradient descent moves the step itself as LSQ does, and Adam, which divides gradients by their size, by a share
    of it that does not depend on how large the step is."""

    @staticmethod
    def forward(ctx: Any, share: torch.Tensor, calibrated: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(calibrated)
        return share * calibrated

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        (calibrated,) = ctx.saved_tensors
        return gradient / calibrated, None


class _Rounded(torch.autograd.Function):
    """Equations 1 to 3 and the gradient scale 1 / sqrt(N x Qp) of section 2.2.

    N is the number of weights that share the step, or of an activation's values in one sample.
    """

    @staticmethod
    def forward(ctx: Any, values: torch.Tensor, step: torch.Tensor, low: int, high: int) -> torch.Tensor:
        scaled = values / step
        ctx.save_for_backward(scaled, step)
        ctx.low, ctx.high = low, high
        return scaled.round().clamp(low, high) * step

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        scaled, step = ctx.saved_tensors
        inside = (scaled > ctx.low) & (scaled < ctx.high)
        to_step = None
        if ctx.needs_input_grad[1]:
            slope = scaled.round().clamp(ctx.low, ctx.high) - scaled * inside
            size = (scaled[0].numel() * max(ctx.high, 1)) ** -0.5
            to_step = (gradient * slope).sum_to_size(step.shape) * size
        return gradient * inside, to_step, None, None
