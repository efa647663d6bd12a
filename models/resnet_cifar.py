"""The residual networks for 32 x 32 pictures (He, Zhang, Ren, Sun, 2015, section 4.2)."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from annotated_types import Gt
from torch import nn

from edgepress.models._card import Card, card
from edgepress.models._layers import initialise
from edgepress.preprocess import Preprocess

Shortcut = Literal["projection", "padding"]
"""What a shortcut does where the shape changes: a 1x1 convolution (option B of the paper), or every
second pixel and zeros for the new channels (option A, which has no parameters)."""

CIFAR10 = Preprocess(size=(32, 32), mean=(0.4914, 0.4822, 0.4465), std=(0.2470, 0.2435, 0.2616))
PAPER = "He et al., Deep Residual Learning for Image Recognition, CVPR 2016 (arXiv:1512.03385)"


@card(
    Card(
        paper=PAPER,
        parameters=272_474,
        macs=40_813_184,
        dataset="CIFAR-10",
        top1=91.25,
        source="top-1 from the paper, table 6, with padding shortcuts (269,722 parameters, 40.55 M MACs); "
        "the counts here are with projection shortcuts",
        preprocess=CIFAR10,
    )
)
def resnet20(
    *,
    classes: Annotated[int, Gt(0)] = 10,
    in_channels: Annotated[int, Gt(0)] = 3,
    shortcut: Shortcut = "projection",
) -> nn.Module:
    """ResNet-20 for CIFAR: three stages of three basic blocks, 16, 32 and 64 channels."""
    return CifarResNet(3, classes, in_channels, shortcut)


@card(
    Card(
        paper=PAPER,
        parameters=855_770,
        macs=125_747_840,
        dataset="CIFAR-10",
        top1=93.03,
        source="top-1 from the paper, table 6, with padding shortcuts (853,018 parameters, 125.49 M MACs); "
        "the counts here are with projection shortcuts",
        preprocess=CIFAR10,
    )
)
def resnet56(
    *,
    classes: Annotated[int, Gt(0)] = 10,
    in_channels: Annotated[int, Gt(0)] = 3,
    shortcut: Shortcut = "projection",
) -> nn.Module:
    """ResNet-56 for CIFAR: three stages of nine basic blocks, 16, 32 and 64 channels."""
    return CifarResNet(9, classes, in_channels, shortcut)


class CifarResNet(nn.Module):
    """N x in_channels x height x width to N x classes logits, in 6 * `blocks` + 2 weighted layers."""

    def __init__(self, blocks: int, classes: int, in_channels: int, shortcut: Shortcut) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu = nn.ReLU()
        self.layer1 = _stage(16, 16, blocks, shortcut)
        self.layer2 = _stage(16, 32, blocks, shortcut)
        self.layer3 = _stage(32, 64, blocks, shortcut)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(64, classes)
        initialise(self)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        features = self.relu(self.bn1(self.conv1(pictures)))
        features = self.layer3(self.layer2(self.layer1(features)))
        logits: torch.Tensor = self.fc(torch.flatten(self.avgpool(features), 1))
        return logits


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut; the first halves the size where the channels change."""

    def __init__(self, inputs: int, outputs: int, shortcut: Shortcut) -> None:
        super().__init__()
        stride = 1 if inputs == outputs else 2
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU()
        self.shortcut = nn.Sequential()
        if stride == 2 and shortcut == "projection":
            self.shortcut.append(nn.Conv2d(inputs, outputs, 1, stride, bias=False))
            self.shortcut.append(nn.BatchNorm2d(outputs))
        elif stride == 2:
            self.shortcut.append(PaddedShortcut(outputs - inputs))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        residual = self.relu(self.bn1(self.conv1(features)))
        residual = self.bn2(self.conv2(residual))
        output: torch.Tensor = self.relu(residual + self.shortcut(features))
        return output


class PaddedShortcut(nn.Module):
    """Every second row and column, with `channels` new channels of zeros, half on either side."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        before = self.channels // 2
        after = self.channels - before
        return nn.functional.pad(features[:, :, ::2, ::2], (0, 0, 0, 0, before, after))


def _stage(inputs: int, outputs: int, blocks: int, shortcut: Shortcut) -> nn.Sequential:
    first = BasicBlock(inputs, outputs, shortcut)
    return nn.Sequential(first, *(BasicBlock(outputs, outputs, shortcut) for _ in range(blocks - 1)))
