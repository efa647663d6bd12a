"""VGG (Simonyan, Zisserman, 2014): nothing but 3x3 convolutions and halvings, eleven to nineteen layers deep."""

from __future__ import annotations

import torch
from torch import nn

from edgepress.models._card import Card, card
from edgepress.models._layers import Count, Side, initialise

PAPER = (
    "Simonyan and Zisserman, Very Deep Convolutional Networks for Large-Scale Image Recognition, ICLR 2015 "
    "(arXiv:1409.1556)"
)
CHANNELS = (64, 128, 256, 512, 512)
"""Of the five stages, each of which ends in a halving."""
HIDDEN = 4096
SOURCE = (
    "top-1 of one 224 x 224 cut, and exact counts, from torchvision, whose parameter names these are; the paper "
    "(table 3) has 70.4, 71.3, 74.4 and 74.5 % for 11, 13, 16 and 19 layers, over whole pictures and without batch-norm"
)


def _card(parameters: int, macs: int, top1: float) -> Card:
    return Card(paper=PAPER, parameters=parameters, macs=macs, top1=top1, source=SOURCE)


@card(_card(132_863_336, 7_609_090_048, 69.02))
def vgg11(*, classes: Count = 1000, in_channels: Count = 3, size: Side = 224) -> nn.Module:
    """VGG-11, configuration A of the paper."""
    return VGG((1, 1, 2, 2, 2), classes, in_channels, size)


@card(_card(132_868_840, 7_609_090_048, 70.37))
def vgg11_bn(*, classes: Count = 1000, in_channels: Count = 3, size: Side = 224) -> nn.Module:
    """VGG-11, configuration A of the paper, with batch-norm behind every convolution."""
    return VGG((1, 1, 2, 2, 2), classes, in_channels, size, batch_norm=True)


@card(_card(133_047_848, 11_308_466_176, 69.93))
def vgg13(*, classes: Count = 1000, in_channels: Count = 3, size: Side = 224) -> nn.Module:
    """VGG-13, configuration B of the paper."""
    return VGG((2, 2, 2, 2, 2), classes, in_channels, size)


@card(_card(133_053_736, 11_308_466_176, 71.59))
def vgg13_bn(*, classes: Count = 1000, in_channels: Count = 3, size: Side = 224) -> nn.Module:
    """VGG-13, configuration B of the paper, with batch-norm behind every convolution."""
    return VGG((2, 2, 2, 2, 2), classes, in_channels, size, batch_norm=True)


@card(_card(138_357_544, 15_470_264_320, 71.59))
def vgg16(*, classes: Count = 1000, in_channels: Count = 3, size: Side = 224) -> nn.Module:
    """VGG-16, configuration D of the paper."""
    return VGG((2, 2, 3, 3, 3), classes, in_channels, size)


@card(_card(138_365_992, 15_470_264_320, 73.36))
def vgg16_bn(*, classes: Count = 1000, in_channels: Count = 3, size: Side = 224) -> nn.Module:
    """VGG-16, configuration D of the paper, with batch-norm behind every convolution."""
    return VGG((2, 2, 3, 3, 3), classes, in_channels, size, batch_norm=True)


@card(_card(143_667_240, 19_632_062_464, 72.38))
def vgg19(*, classes: Count = 1000, in_channels: Count = 3, size: Side = 224) -> nn.Module:
    """VGG-19, configuration E of the paper."""
    return VGG((2, 2, 4, 4, 4), classes, in_channels, size)


@card(_card(143_678_248, 19_632_062_464, 74.22))
def vgg19_bn(*, classes: Count = 1000, in_channels: Count = 3, size: Side = 224) -> nn.Module:
    """VGG-19, configuration E of the paper, with batch-norm behind every convolution."""
    return VGG((2, 2, 4, 4, 4), classes, in_channels, size, batch_norm=True)


class VGG(nn.Module):
    """N x in_channels x size x size to N x classes logits; `depths` are the convolutions of each stage.

    The classifier is as wide as the features of a picture of `size` pixels a side need, so nothing is resized before it.
    """

    def __init__(
        self, depths: tuple[int, ...], classes: int, in_channels: int, size: int, *, batch_norm: bool = False
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = in_channels
        for depth, channels in zip(depths, CHANNELS, strict=True):
            for _ in range(depth):
                norm = [nn.BatchNorm2d(channels)] if batch_norm else []
                layers += [nn.Conv2d(inputs, channels, 3, padding=1), *norm, nn.ReLU()]
                inputs = channels
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(
            nn.Linear(inputs * (size // 2 ** len(CHANNELS)) ** 2, HIDDEN), nn.ReLU(), nn.Dropout(),
            nn.Linear(HIDDEN, HIDDEN), nn.ReLU(), nn.Dropout(),
            nn.Linear(HIDDEN, classes),
        )  # fmt: skip
        initialise(self)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.classifier(torch.flatten(self.features(pictures), 1))
        return logits
