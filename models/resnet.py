"""Residual networks for ImageNet (He, Zhang, Ren, Sun, 2015), and ResNeXt (Xie et al., 2017), which groups their convolutions."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import torch
from torch import nn

from edgepress.models._card import Card, card
from edgepress.models._layers import Count, convolution, initialise

PAPER = "He et al., Deep Residual Learning for Image Recognition, CVPR 2016 (arXiv:1512.03385)"
RESNEXT = (
    "Xie et al., Aggregated Residual Transformations for Deep Neural Networks, CVPR 2017 (arXiv:1611.05431)"
)
SOURCE = "top-1 and exact counts from torchvision, whose parameter names these are"
PLAIN = f"{SOURCE}; the paper has 72.12 % (table 2) and 75.48 % (table 3) for 18 and 34 layers, over ten cuts of each picture"
STRIDE = (
    f"{SOURCE}; the paper (table 3) has 77.15, 78.25 and 78.57 % for 50, 101 and 152 layers, over ten cuts of each "
    "picture. torchvision's bottlenecks halve the size in their 3x3 convolution, the paper's in their first, which takes "
    "fewer multiply-adds (ResNet-50: 3.8 billion)"
)
STEM_CHANNELS = 64
NARROW, WIDE = (64, 128, 256, 512), (256, 512, 1024, 2048)
"""Outputs of the four stages of basic blocks, and of bottlenecks."""

Block = Callable[[int, int, int], nn.Module]


def _card(parameters: int, macs: int, top1: float, source: str = STRIDE, paper: str = PAPER) -> Card:
    return Card(paper=paper, parameters=parameters, macs=macs, top1=top1, source=source)


@card(_card(11_689_512, 1_814_073_344, 69.76, PLAIN))
def resnet18(*, classes: Count = 1000, in_channels: Count = 3) -> nn.Module:
    """ResNet-18: eight basic blocks."""
    return ResNet(BasicBlock, NARROW, (2, 2, 2, 2), classes, in_channels)


@card(_card(21_797_672, 3_663_761_408, 73.31, PLAIN))
def resnet34(*, classes: Count = 1000, in_channels: Count = 3) -> nn.Module:
    """ResNet-34: sixteen basic blocks."""
    return ResNet(BasicBlock, NARROW, (3, 4, 6, 3), classes, in_channels)


@card(_card(25_557_032, 4_089_184_256, 76.13))
def resnet50(*, classes: Count = 1000, in_channels: Count = 3) -> nn.Module:
    """ResNet-50: sixteen bottlenecks."""
    return ResNet(Bottleneck, WIDE, (3, 4, 6, 3), classes, in_channels)


@card(_card(44_549_160, 7_801_405_440, 77.37))
def resnet101(*, classes: Count = 1000, in_channels: Count = 3) -> nn.Module:
    """ResNet-101: thirty-three bottlenecks."""
    return ResNet(Bottleneck, WIDE, (3, 4, 23, 3), classes, in_channels)


@card(_card(60_192_808, 11_513_626_624, 78.31))
def resnet152(*, classes: Count = 1000, in_channels: Count = 3) -> nn.Module:
    """ResNet-152: fifty bottlenecks."""
    return ResNet(Bottleneck, WIDE, (3, 8, 36, 3), classes, in_channels)


@card(
    _card(
        25_028_904,
        4_230_479_872,
        77.62,
        f"{SOURCE}; the authors' code has an error of 22.2 %: 77.8 %",
        RESNEXT,
    )
)
def resnext50_32x4d(*, classes: Count = 1000, in_channels: Count = 3) -> nn.Module:
    """ResNeXt-50 32x4d: ResNet-50 with 3x3 convolutions of 32 groups of 4 channels and more."""
    block = functools.partial(Bottleneck, share=1 / 2, groups=32)
    return ResNet(block, WIDE, (3, 4, 6, 3), classes, in_channels)


class ResNet(nn.Module):
    """N x in_channels x height x width to N x classes logits; the features are 1/32 as wide.

    `block(inputs, outputs, stride)` makes one residual block; the four stages have so many `outputs` and `depths` blocks.
    """

    def __init__(
        self, block: Block, outputs: Sequence[int], depths: Sequence[int], classes: int, in_channels: int
    ) -> None:
        super().__init__()
        self.conv1, self.bn1 = convolution(in_channels, STEM_CHANNELS, 7, stride=2, activation=None)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        inputs = (STEM_CHANNELS, *outputs)
        self.layer1, self.layer2, self.layer3, self.layer4 = (
            _stage(block, *shape) for shape in zip(inputs, outputs, depths, (1, 2, 2, 2), strict=False)
        )
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(outputs[-1], classes)
        initialise(self)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        features = self.maxpool(self.relu(self.bn1(self.conv1(pictures))))
        features = self.layer4(self.layer3(self.layer2(self.layer1(features))))
        logits: torch.Tensor = self.fc(torch.flatten(self.avgpool(features), 1))
        return logits


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut; the first has the stride."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = convolution(inputs, outputs, 3, stride=stride, activation=None)
        self.conv2, self.bn2 = convolution(outputs, outputs, 3, activation=None)
        self.relu = nn.ReLU()
        self.downsample = shortcut(inputs, outputs, stride)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        residual = self.relu(self.bn1(self.conv1(features)))
        residual = self.bn2(self.conv2(residual))
        output: torch.Tensor = self.relu(residual + self.downsample(features))
        return output


class Bottleneck(nn.Module):
    """1x1 to fewer channels, 3x3 with the stride in so many `groups`, 1x1 to more, beside a shortcut.

    Between the 1x1 convolutions are a `share` of the outputs.
    """

    def __init__(
        self, inputs: int, outputs: int, stride: int, *, share: float = 1 / 4, groups: int = 1
    ) -> None:
        super().__init__()
        width = int(outputs * share)
        self.conv1, self.bn1 = convolution(inputs, width, 1, activation=None)
        self.conv2, self.bn2 = convolution(width, width, 3, stride=stride, groups=groups, activation=None)
        self.conv3, self.bn3 = convolution(width, outputs, 1, activation=None)
        self.relu = nn.ReLU()
        self.downsample = shortcut(inputs, outputs, stride)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        residual = self.relu(self.bn1(self.conv1(features)))
        residual = self.relu(self.bn2(self.conv2(residual)))
        residual = self.bn3(self.conv3(residual))
        output: torch.Tensor = self.relu(residual + self.downsample(features))
        return output


def shortcut(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    """What a residual is added to: the block's input, behind a 1x1 convolution where the shape changes."""
    changes = stride != 1 or inputs != outputs
    return nn.Sequential(*convolution(inputs, outputs, 1, stride=stride, activation=None) if changes else ())


def _stage(block: Block, inputs: int, outputs: int, depth: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        block(inputs, outputs, stride), *(block(outputs, outputs, 1) for _ in range(depth - 1))
    )
