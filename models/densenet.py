"""DenseNet (Huang, Liu, van der Maaten, Weinberger, 2016): every layer sees what all layers before it in its block made."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import nn

from edgepress.models._card import Card, card
from edgepress.models._layers import Count, initialise

STEM_CHANNELS = 64
GROWTH = 32
"""Channels that each layer adds."""
BOTTLENECK = 4 * GROWTH


def _card(parameters: int, macs: int, top1: float) -> Card:
    return Card(
        paper="Huang et al., Densely Connected Convolutional Networks, CVPR 2017 (arXiv:1608.06993)",
        parameters=parameters,
        macs=macs,
        top1=top1,
        source="top-1 and exact counts from torchvision, whose parameter names these are; the paper (table 3) has 74.98, "
        "76.20 and 77.42 % for 121, 169 and 201 layers",
    )


@card(_card(7_978_856, 2_834_161_664, 74.43))
def densenet121(*, classes: Count = 1000, in_channels: Count = 3) -> nn.Module:
    """DenseNet-121: blocks of 6, 12, 24 and 16 layers."""
    return DenseNet((6, 12, 24, 16), classes, in_channels)


@card(_card(14_149_480, 3_359_843_328, 75.60))
def densenet169(*, classes: Count = 1000, in_channels: Count = 3) -> nn.Module:
    """DenseNet-169: blocks of 6, 12, 32 and 32 layers."""
    return DenseNet((6, 12, 32, 32), classes, in_channels)


@card(_card(20_013_928, 4_291_365_888, 76.90))
def densenet201(*, classes: Count = 1000, in_channels: Count = 3) -> nn.Module:
    """DenseNet-201: blocks of 6, 12, 48 and 32 layers."""
    return DenseNet((6, 12, 48, 32), classes, in_channels)


class DenseNet(nn.Module):
    """N x in_channels x height x width to N x classes logits, in blocks of so many layers; the features are 1/32 as wide."""

    def __init__(self, depths: tuple[int, ...], classes: int, in_channels: int) -> None:
        super().__init__()
        self.features = nn.Sequential()
        self.features.add_module("conv0", nn.Conv2d(in_channels, STEM_CHANNELS, 7, 2, 3, bias=False))
        self.features.add_module("norm0", nn.BatchNorm2d(STEM_CHANNELS))
        self.features.add_module("relu0", nn.ReLU())
        self.features.add_module("pool0", nn.MaxPool2d(3, 2, 1))
        channels = STEM_CHANNELS
        for number, depth in enumerate(depths, start=1):
            if number > 1:
                self.features.add_module(f"transition{number - 1}", Transition(channels, channels // 2))
                channels //= 2
            self.features.add_module(f"denseblock{number}", DenseBlock(channels, depth))
            channels += depth * GROWTH
        self.features.add_module("norm5", nn.BatchNorm2d(channels))
        self.relu = nn.ReLU()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(channels, classes)
        initialise(self)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        features = self.avgpool(self.relu(self.features(pictures)))
        logits: torch.Tensor = self.classifier(torch.flatten(features, 1))
        return logits

    def renamed_state(self, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """`state` under the names used here: torchvision's files say `norm.1` and `conv.2` where its module says
        `norm1` and `conv2`."""
        return {re.sub(r"\.(norm|conv)\.([12])\.", r".\1\2.", name): tensor for name, tensor in state.items()}


class DenseBlock(nn.Module):
    """Its input and what each of its layers added, concatenated."""

    def __init__(self, inputs: int, depth: int) -> None:
        super().__init__()
        for number in range(depth):
            self.add_module(f"denselayer{number + 1}", DenseLayer(inputs + number * GROWTH))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        for layer in self.children():
            features = torch.cat((features, layer(features)), dim=1)
        return features


class DenseLayer(nn.Module):
    """A 1x1 convolution and a 3x3 convolution to `GROWTH` channels, each behind batch-norm and a rectifier."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inputs)
        self.relu1 = nn.ReLU()
        self.conv1 = nn.Conv2d(inputs, BOTTLENECK, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(BOTTLENECK)
        self.relu2 = nn.ReLU()
        self.conv2 = nn.Conv2d(BOTTLENECK, GROWTH, 3, padding=1, bias=False)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        squeezed = self.conv1(self.relu1(self.norm1(features)))
        added: torch.Tensor = self.conv2(self.relu2(self.norm2(squeezed)))
        return added


class Transition(nn.Sequential):
    """Half the channels and half the size."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(inputs)
        self.relu = nn.ReLU()
        self.conv = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.pool = nn.AvgPool2d(2)
