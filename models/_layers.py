"""What the convolutional families of the zoo share: options, rounded widths, convolution with batch-norm, initial weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from annotated_types import Ge, Gt
from torch import nn

Count = Annotated[int, Gt(0)]
Factor = Annotated[float, Gt(0)]
"""What multiplies all channels."""
Side = Annotated[int, Ge(32)]
"""Pixels of a picture's side, for networks that halve it five times and have a classifier of fixed width."""


def scaled(channels: int, width: float) -> int:
    """`channels` times the width multiplier, as a multiple of 8 and never under 90 % of the exact product.

    The rule of the authors' MobileNet code (Sandler et al., 2018).
    """
    exact = channels * width
    rounded = max(8, int(exact + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * exact else rounded


def convolution(
    inputs: int,
    outputs: int,
    kernel: int,
    *,
    stride: int = 1,
    groups: int = 1,
    activation: Callable[[], nn.Module] | None = nn.ReLU,
) -> list[nn.Module]:
    """A convolution that keeps the size but for its stride, its batch-norm, and the activation if there is one."""
    layers: list[nn.Module] = [
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
    ]
    return layers if activation is None else [*layers, activation()]


def initialise(network: nn.Module) -> None:
    """Weights as He et al. (2015) draw them for rectifiers; linear layers narrow; biases zero."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0.0, 0.01)
        if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
