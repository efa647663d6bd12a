"""The residual networks for 32 x 32 pictures (He, Zhang, Ren, Sun, 2015, section 4.2)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

from edgepress.models._card import Card, Variant, card
from edgepress.models._layers import Count, initialise
from edgepress.preprocess import Preprocess

Shortcut = Literal["projection", "padding"]
"""What a shortcut does where the shape changes: a 1x1 convolution (option B of the paper), or every
second pixel and zeros for the new channels (option A, which has no parameters)."""

CIFAR10 = Preprocess(size=(32, 32), mean=(0.4914, 0.4822, 0.4465), std=(0.2470, 0.2435, 0.2616))
PAPER = "He et al., Deep Residual Learning for Image Recognition, CVPR 2016 (arXiv:1512.03385)"


def _card(parameters: int, macs: int, top1: float, *, padded: tuple[int, int]) -> Card:
    """`padded` are parameters and MACs with padding shortcuts, as in the paper."""
    options = {"shortcut": "padding"}
    return Card(
        paper=PAPER,
        parameters=parameters,
        macs=macs,
        dataset="CIFAR-10",
        top1=top1,
        source="top-1 from the paper, table 6, with padding shortcuts; the counts here are with projection shortcuts",
        preprocess=CIFAR10,
        variants=(Variant(options=options, parameters=padded[0], macs=padded[1], top1=top1),),
    )


@card(_card(272_474, 40_813_184, 91.25, padded=(269_722, 40_551_040)))
def resnet20(*, classes: Count = 10, in_channels: Count = 3, shortcut: Shortcut = "projection") -> nn.Module:
    """ResNet-20 for CIFAR: three stages of three basic blocks, 16, 32 and 64 channels."""
    return CifarResNet(3, classes, in_channels, shortcut)


@card(_card(466_906, 69_124_736, 92.49, padded=(464_154, 68_862_592)))
def resnet32(*, classes: Count = 10, in_channels: Count = 3, shortcut: Shortcut = "projection") -> nn.Module:
    """ResNet-32 for CIFAR: three stages of five basic blocks, 16, 32 and 64 channels."""
    return CifarResNet(5, classes, in_channels, shortcut)


@card(_card(661_338, 97_436_288, 92.83, padded=(658_586, 97_174_144)))
def resnet44(*, classes: Count = 10, in_channels: Count = 3, shortcut: Shortcut = "projection") -> nn.Module:
    """ResNet-44 for CIFAR: three stages of seven basic blocks, 16, 32 and 64 channels."""
    return CifarResNet(7, classes, in_channels, shortcut)


@card(_card(855_770, 125_747_840, 93.03, padded=(853_018, 125_485_696)))
def resnet56(*, classes: Count = 10, in_channels: Count = 3, shortcut: Shortcut = "projection") -> nn.Module:
    """ResNet-56 for CIFAR: three stages of nine basic blocks, 16, 32 and 64 channels."""
    return CifarResNet(9, classes, in_channels, shortcut)


@card(_card(1_730_714, 253_149_824, 93.57, padded=(1_727_962, 252_887_680)))
def resnet110(*, classes: Count = 10, in_channels: Count = 3, shortcut: Shortcut = "projection") -> nn.Module:
    """ResNet-110 for CIFAR: three stages of eighteen basic blocks, 16, 32 and 64 channels."""
    return CifarResNet(18, classes, in_channels, shortcut)


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
