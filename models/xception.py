"""Xception (Chollet, 2016): inception taken to its extreme, a filter for each channel and a 1x1 convolution behind it."""

from __future__ import annotations

import torch
from torch import nn

from edgepress.models._card import Card, card
from edgepress.models._layers import Count, convolution, initialise
from edgepress.models.inception_v3 import INCEPTION

MIDDLE_BLOCKS = 8
MIDDLE_CHANNELS = 728


@card(
    Card(
        paper="Chollet, Xception: Deep Learning with Depthwise Separable Convolutions, CVPR 2017 (arXiv:1610.02357)",
        parameters=22_855_952,
        macs=8_357_403_496,
        top1=79.0,
        source="the paper, table 1: 79.0 %, and table 3: 22,855,952 parameters",
        preprocess=INCEPTION,
    )
)
def xception(*, classes: Count = 1000, in_channels: Count = 3) -> nn.Module:
    """Xception, for pictures of 299 x 299 pixels: an entry, a middle of eight like blocks, and an exit."""
    return Xception(classes, in_channels)


class Xception(nn.Module):
    """N x in_channels x height x width to N x classes logits; the features are 1/32 as wide."""

    def __init__(self, classes: int, in_channels: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(*_valid(in_channels, 32, stride=2), *_valid(32, 64))
        self.entry = nn.Sequential(
            Halving(64, 128, 128, starts_rectified=False), Halving(128, 256, 256), Halving(256, 728, 728)
        )
        self.middle = nn.Sequential(*(Middle(MIDDLE_CHANNELS) for _ in range(MIDDLE_BLOCKS)))
        self.exit = nn.Sequential(
            Halving(728, 728, 1024), _separable(1024, 1536), nn.ReLU(), _separable(1536, 2048), nn.ReLU()
        )
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(2048, classes)
        initialise(self)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        features = self.exit(self.middle(self.entry(self.stem(pictures))))
        logits: torch.Tensor = self.fc(torch.flatten(self.avgpool(features), 1))
        return logits


class Halving(nn.Module):
    """Two separable convolutions and a pooling that halves the size, beside a 1x1 convolution that does so too."""

    def __init__(self, inputs: int, inner: int, outputs: int, *, starts_rectified: bool = True) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *([nn.ReLU()] if starts_rectified else []), _separable(inputs, inner), nn.ReLU(), _separable(inner, outputs),
            nn.MaxPool2d(3, 2, 1),
        )  # fmt: skip
        self.shortcut = nn.Sequential(*convolution(inputs, outputs, 1, stride=2, activation=None))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self.body(features) + self.shortcut(features)
        return output


class Middle(nn.Module):
    """Three separable convolutions beside their input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        layers = [layer for _ in range(3) for layer in (nn.ReLU(), _separable(channels, channels))]
        self.body = nn.Sequential(*layers)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = features + self.body(features)
        return output


def _separable(inputs: int, outputs: int) -> nn.Sequential:
    """A 3x3 filter for each channel, a 1x1 convolution, and only then batch-norm."""
    depthwise = nn.Conv2d(inputs, inputs, 3, padding=1, groups=inputs, bias=False)
    return nn.Sequential(depthwise, *convolution(inputs, outputs, 1, activation=None))


def _valid(inputs: int, outputs: int, *, stride: int = 1) -> list[nn.Module]:
    """A 3x3 convolution without padding, its batch-norm, and a rectifier."""
    return [nn.Conv2d(inputs, outputs, 3, stride, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
