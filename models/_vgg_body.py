"""The convolutions of VGG-16 (Simonyan, Zisserman, 2014), as detectors and segmenters stand on them."""

from __future__ import annotations

from torch import nn

from edgepress.models._layers import scaled

CHANNELS, DEPTHS = (64, 128, 256, 512, 512), (2, 2, 3, 3, 3)
"""Of the five stages of VGG-16."""


def stage_channels(width: float) -> tuple[int, ...]:
    return tuple(scaled(channels, width) for channels in CHANNELS)


def stage(
    inputs: int, outputs: int, depth: int, *, dilation: int = 1, batch_norm: bool = False
) -> list[nn.Module]:
    """`depth` 3x3 convolutions that keep the size, each with its rectifier."""
    layers: list[nn.Module] = []
    for number in range(depth):
        norm = [nn.BatchNorm2d(outputs)] if batch_norm else []
        first = inputs if number == 0 else outputs
        layers += [nn.Conv2d(first, outputs, 3, padding=dilation, dilation=dilation), *norm, nn.ReLU()]
    return layers
