"""GoogLeNet (Szegedy et al., 2014), whose inception modules look at several scales side by side."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import torch
from torch import nn

from edgepress.models._card import Card, card
from edgepress.models._layers import Count, initialise
from edgepress.models.alexnet import local_response
from edgepress.preprocess import IMAGENET

PAPER = "Szegedy et al., Going Deeper with Convolutions, CVPR 2015 (arXiv:1409.4842)"
HALF = dataclasses.replace(IMAGENET, mean=(0.5,), std=(0.5,))
"""Pixels between -1 and 1, as torchvision's weights were trained with."""
MODULES = {
    "3a": (64, (96, 128), (16, 32), 32),
    "3b": (128, (128, 192), (32, 96), 64),
    "4a": (192, (96, 208), (16, 48), 64),
    "4b": (160, (112, 224), (24, 64), 64),
    "4c": (128, (128, 256), (24, 64), 64),
    "4d": (112, (144, 288), (32, 64), 64),
    "4e": (256, (160, 320), (32, 128), 128),
    "5a": (256, (160, 320), (32, 128), 128),
    "5b": (384, (192, 384), (48, 128), 128),
}
"""Channels of the 1x1 branch; of the 3x3 branch, before and in it; of the 5x5 branch; behind the pooling: table 1."""


@card(
    Card(
        paper=PAPER,
        parameters=6_624_904,
        macs=1_498_376_192,
        top1=69.78,
        source="top-1 and exact counts from torchvision, whose parameter names these are: batch-norm in place of local "
        "response normalisation, and 3x3 filters in the branches that the paper has 5x5 in; without the two auxiliary "
        "classifiers, which serve training only",
        preprocess=HALF,
    )
)
def googlenet(*, classes: Count = 1000, in_channels: Count = 3) -> nn.Module:
    """GoogLeNet (Inception v1) with batch-norm, as it is trained today."""
    return GoogLeNet(classes, in_channels, batch_norm=True)


@card(
    Card(
        paper=PAPER,
        parameters=6_998_552,
        macs=1_582_671_872,
        top1=68.7,
        source="counts of the layers in table 1 of the paper, without the two auxiliary classifiers; the paper has 7 million "
        "parameters and 1.5 billion multiply-adds in its table. Top-1 from the authors of Caffe, who trained it again",
    )
)
def googlenet_lrn(*, classes: Count = 1000, in_channels: Count = 3) -> nn.Module:
    """GoogLeNet as published in 2014: local response normalisation, and 5x5 filters in the branches for large scales."""
    return GoogLeNet(classes, in_channels, batch_norm=False)


class GoogLeNet(nn.Module):
    """N x in_channels x height x width to N x classes logits; the features are 1/32 as wide."""

    def __init__(self, classes: int, in_channels: int, *, batch_norm: bool) -> None:
        super().__init__()
        normalise = nn.Identity if batch_norm else local_response
        self.conv1 = Convolution(in_channels, 64, 7, batch_norm, stride=2)
        self.maxpool1 = nn.Sequential(_pool(), normalise())
        self.conv2 = Convolution(64, 64, 1, batch_norm)
        self.conv3 = Convolution(64, 192, 3, batch_norm)
        self.maxpool2 = nn.Sequential(normalise(), _pool())
        channels = 192
        for name, (one, three, five, pooled) in MODULES.items():
            self.add_module(f"inception{name}", Inception(channels, one, three, five, pooled, batch_norm))
            channels = one + three[-1] + five[-1] + pooled
        self.maxpool3 = _pool()
        self.maxpool4 = nn.MaxPool2d(2, 2, ceil_mode=True) if batch_norm else _pool()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(0.2 if batch_norm else 0.4)
        self.fc = nn.Linear(channels, classes)
        initialise(self)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        features = self.maxpool2(self.conv3(self.conv2(self.maxpool1(self.conv1(pictures)))))
        for name in MODULES:
            features = getattr(self, f"inception{name}")(features)
            if name in ("3b", "4e"):
                features = (self.maxpool3 if name == "3b" else self.maxpool4)(features)
        logits: torch.Tensor = self.fc(self.dropout(torch.flatten(self.avgpool(features), 1)))
        return logits

    def renamed_state(self, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """`state` without the two classifiers that torchvision trains beside this one."""
        return {name: tensor for name, tensor in state.items() if not name.startswith(("aux1.", "aux2."))}


class Inception(nn.Module):
    """1x1, 3x3 and 5x5 convolutions and a pooling side by side, the larger ones behind 1x1 convolutions to fewer channels.

    With batch-norm the 5x5 convolutions are 3x3.
    """

    def __init__(
        self, inputs: int, one: int, three: tuple[int, int], five: tuple[int, int], pooled: int, batch_norm: bool
    ) -> None:  # fmt: skip
        super().__init__()
        self.branch1 = Convolution(inputs, one, 1, batch_norm)
        self.branch2 = nn.Sequential(
            Convolution(inputs, three[0], 1, batch_norm), Convolution(*three, 3, batch_norm)
        )
        self.branch3 = nn.Sequential(
            Convolution(inputs, five[0], 1, batch_norm),
            Convolution(*five, 3 if batch_norm else 5, batch_norm),
        )
        self.branch4 = nn.Sequential(nn.MaxPool2d(3, 1, 1), Convolution(inputs, pooled, 1, batch_norm))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        branches = (self.branch1, self.branch2, self.branch3, self.branch4)
        return torch.cat([branch(features) for branch in branches], dim=1)


class Convolution(nn.Module):
    """A convolution, its batch-norm or bias, and a rectifier."""

    def __init__(self, inputs: int, outputs: int, kernel: int, batch_norm: bool, *, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=not batch_norm)
        self.bn = nn.BatchNorm2d(outputs, eps=0.001) if batch_norm else nn.Identity()
        self.relu = nn.ReLU()

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self.relu(self.bn(self.conv(features)))
        return output


def _pool() -> nn.MaxPool2d:
    return nn.MaxPool2d(3, 2, ceil_mode=True)
