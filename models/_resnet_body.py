"""The residual network (He et al., 2015) without its classifier, as detectors and segmenters stand on it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from edgepress.models._layers import convolution, scaled
from edgepress.models.resnet import Bottleneck

EXPANSION = 4
"""A bottleneck gives four times as many channels as it filters."""
DEPTHS_50, DEPTHS_101 = (3, 4, 6, 3), (3, 4, 23, 3)
"""Bottlenecks in the four stages of ResNet-50 and ResNet-101."""


class ResNetBody(nn.Module):
    """N x in_channels x height x width to the four stages' features, finest first: 1/4 to 1/32 as wide.

    A stage with a dilation above 1 does not halve but looks that far apart. `width` multiplies all channels;
    `deep_stem` stands three 3x3 convolutions in place of one 7x7. The names are torchvision's.
    """

    def __init__(
        self,
        depths: Sequence[int],
        in_channels: int,
        width: float = 1.0,
        dilations: Sequence[int] = (1, 1, 1, 1),
        deep_stem: bool = False,
    ) -> None:
        super().__init__()
        base = scaled(64, width)
        stem = 2 * base if deep_stem else base
        if deep_stem:
            first = [*convolution(in_channels, base, 3, stride=2), *convolution(base, base, 3)]
            self.conv1: nn.Module = nn.Sequential(*first, nn.Conv2d(base, stem, 3, padding=1, bias=False))
        else:
            self.conv1 = nn.Conv2d(in_channels, stem, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(stem)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.channels = tuple(base * 2**stage * EXPANSION for stage in range(4))
        inputs = (stem, *self.channels)
        self.layer1, self.layer2, self.layer3, self.layer4 = (
            _stage(inputs[stage], self.channels[stage], depths[stage], dilations, stage) for stage in range(4)
        )

    def forward(self, pictures: torch.Tensor) -> list[torch.Tensor]:
        features = self.maxpool(self.relu(self.bn1(self.conv1(pictures))))
        found = []
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            features = stage(features)
            found.append(features)
        return found


def _stage(inputs: int, outputs: int, depth: int, dilations: Sequence[int], number: int) -> nn.Sequential:
    """The first block of a dilated stage still looks as far as the stage before it, as in torchvision."""
    dilation = dilations[number]
    stride = 2 if number and dilation == 1 else 1
    first = _dilated(Bottleneck(inputs, outputs, stride), dilations[number - 1] if dilation > 1 else 1)
    others = (_dilated(Bottleneck(outputs, outputs, 1), dilation) for _ in range(depth - 1))
    return nn.Sequential(first, *others)


def _dilated(block: Bottleneck, dilation: int) -> Bottleneck:
    """The block with its 3x3 convolution looking that far apart."""
    for layer in block.modules():
        if isinstance(layer, nn.Conv2d) and layer.kernel_size == (3, 3):
            layer.dilation = layer.padding = (dilation, dilation)
    return block
