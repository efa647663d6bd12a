"""The residual network (He et al., 2015) without its classifier, as detectors and segmenters stand on it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from edgepress.models._layers import convolution, scaled

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
        stages = [
            _stage(inputs[stage], base * 2**stage, depths[stage], stage > 0, dilations, stage)
            for stage in range(4)
        ]
        self.layer1, self.layer2, self.layer3, self.layer4 = stages

    def forward(self, pictures: torch.Tensor) -> list[torch.Tensor]:
        features = self.maxpool(self.relu(self.bn1(self.conv1(pictures))))
        found = []
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            features = stage(features)
            found.append(features)
        return found


class Bottleneck(nn.Module):
    """1x1 to few channels, 3x3, 1x1 to four times as many, beside a shortcut; the 3x3 has the stride."""

    def __init__(self, inputs: int, channels: int, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        outputs = channels * EXPANSION
        self.conv1 = nn.Conv2d(inputs, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride, dilation, dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU()
        self.downsample = nn.Sequential()
        if stride > 1 or inputs != outputs:
            self.downsample.append(nn.Conv2d(inputs, outputs, 1, stride, bias=False))
            self.downsample.append(nn.BatchNorm2d(outputs))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        residual = self.relu(self.bn1(self.conv1(features)))
        residual = self.relu(self.bn2(self.conv2(residual)))
        residual = self.bn3(self.conv3(residual))
        output: torch.Tensor = self.relu(residual + self.downsample(features))
        return output


def _stage(
    inputs: int, channels: int, depth: int, halves: bool, dilations: Sequence[int], number: int
) -> nn.Sequential:
    """The first block of a dilated stage still looks as far as the stage before it, as in torchvision."""
    dilation = dilations[number]
    stride = 2 if halves and dilation == 1 else 1
    first = Bottleneck(inputs, channels, stride, dilations[number - 1] if number and dilation > 1 else 1)
    others = (Bottleneck(channels * EXPANSION, channels, 1, dilation) for _ in range(depth - 1))
    return nn.Sequential(first, *others)
