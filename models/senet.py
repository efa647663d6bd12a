"""SE-ResNet (Hu, Shen, Sun, 2018): residual blocks that weigh their channels by what the whole picture holds."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from edgepress.models._card import Card, card
from edgepress.models._layers import Count
from edgepress.models.resnet import WIDE, Bottleneck, ResNet

REDUCTION = 16
"""How many times fewer channels there are between the two layers of a gate: section 6.4 of the paper."""


@card(
    Card(
        paper="Hu et al., Squeeze-and-Excitation Networks, CVPR 2018 (arXiv:1709.01507)",
        parameters=28_088_024,
        macs=3_860_488_192,
        top1=76.71,
        source="the paper, table 2: 23.29 % error, 3.87 billion multiply-adds; the parameters as in the authors' "
        "released model, whose gates have biases and whose bottlenecks halve the size in their first convolution",
    )
)
def se_resnet50(*, classes: Count = 1000, in_channels: Count = 3) -> nn.Module:
    """SE-ResNet-50: ResNet-50 with a squeeze-and-excitation gate behind every bottleneck."""
    return ResNet(SEBottleneck, WIDE, (3, 4, 6, 3), classes, in_channels)


class SEBottleneck(Bottleneck):
    """A bottleneck whose residual is gated; the first of its convolutions has the stride."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__(inputs, outputs, stride)
        self.conv1.stride, self.conv2.stride = self.conv2.stride, self.conv1.stride
        self.gate = Gate(outputs, outputs // REDUCTION)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        residual = self.relu(self.bn1(self.conv1(features)))
        residual = self.relu(self.bn2(self.conv2(residual)))
        residual = self.gate(self.bn3(self.conv3(residual)))
        output: torch.Tensor = self.relu(residual + self.downsample(features))
        return output


class Gate(nn.Module):
    """Every channel times a factor between 0 and 1: averaged, squeezed to fewer channels, excited to as many."""

    def __init__(
        self,
        channels: int,
        squeezed: int,
        *,
        activation: Callable[[], nn.Module] = nn.ReLU,
        factor: Callable[[], nn.Module] = nn.Sigmoid,
    ) -> None:
        super().__init__()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc1 = nn.Conv2d(channels, squeezed, 1)
        self.activation = activation()
        self.fc2 = nn.Conv2d(squeezed, channels, 1)
        self.factor = factor()

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        gated: torch.Tensor = features * self.factor(
            self.fc2(self.activation(self.fc1(self.avgpool(features))))
        )
        return gated
