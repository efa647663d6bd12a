"""Activations of one bit, with a gradient that knows where the step is."""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd.function import once_differentiable

from edgepress.compress._quantization.learned_steps import fake_quantize


def approximate_sign(
    values: torch.Tensor, share: torch.Tensor, calibrated: torch.Tensor, low: int, high: int
) -> torch.Tensor:
    """As fake_quantize for two integers, 0 and 1, with another gradient: a triangle about the half of the step, the
    derivative of a sign made of two parabolas (Liu et al., 2018, Bi-Real Net, section 3.3)."""
    made = fake_quantize(values.detach(), share, calibrated, low, high)
    shape: torch.Tensor = _Triangle.apply(values, (share * calibrated).detach())  # type: ignore[no-untyped-call]  # PyTorch's own is not annotated
    return made + shape


class _Triangle(torch.autograd.Function):
    """Nothing, with the gradient of the approximate sign between 0 and `step`."""

    @staticmethod
    def forward(ctx: Any, values: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(values, step)
        return torch.zeros_like(values)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        values, step = ctx.saved_tensors
        return gradient * (2 - 2 * (2 * values / step - 1).abs()).clamp(min=0), None
