"""EfficientNet (Tan, Le, 2019): a searched network of gated inverted residuals, to be scaled in all dimensions at once."""

from __future__ import annotations

import torch
from torch import nn

from edgepress.models._card import Card, card
from edgepress.models._layers import Count, convolution, initialise
from edgepress.models.senet import Gate

STAGES = (
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)
"""(expansion, kernel, stride of the first block, channels, blocks): table 1 of the paper."""
STEM_CHANNELS, LAST_CHANNELS = 32, 1280


@card(
    Card(
        paper="Tan and Le, EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks, ICML 2019 "
        "(arXiv:1905.11946)",
        parameters=5_288_548,
        macs=385_814_752,
        top1=77.1,
        source="the paper, table 2: 77.1 %, 0.39 billion multiply-adds; exact counts as in torchvision, whose parameter "
        "names these are; blocks are never left out in training",
    )
)
def efficientnet_b0(*, classes: Count = 1000, in_channels: Count = 3) -> nn.Module:
    """EfficientNet-B0, the network that the larger ones are scaled from."""
    return EfficientNet(classes, in_channels)


class EfficientNet(nn.Module):
    """N x in_channels x height x width to N x classes logits; the features are 1/32 as wide."""

    def __init__(self, classes: int, in_channels: int) -> None:
        super().__init__()
        channels = STEM_CHANNELS
        stages: list[nn.Module] = [_convolution(in_channels, channels, 3, stride=2)]
        for expansion, kernel, stride, outputs, depth in STAGES:
            blocks = [MBConv(channels, outputs, expansion, kernel, stride)]
            blocks += [MBConv(outputs, outputs, expansion, kernel, 1) for _ in range(depth - 1)]
            stages.append(nn.Sequential(*blocks))
            channels = outputs
        self.features = nn.Sequential(*stages, _convolution(channels, LAST_CHANNELS, 1))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(LAST_CHANNELS, classes))
        initialise(self)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.classifier(torch.flatten(self.avgpool(self.features(pictures)), 1))
        return logits


class MBConv(nn.Module):
    """Expand 1x1, filter depthwise, gate, project 1x1 without activation; added to its input where shapes allow.

    The gate's inner channels are a quarter of the block's input channels.
    """

    def __init__(self, inputs: int, outputs: int, expansion: int, kernel: int, stride: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.is_residual = stride == 1 and inputs == outputs
        expand = [_convolution(inputs, hidden, 1)] if expansion != 1 else []
        filtered = _convolution(hidden, hidden, kernel, stride=stride, groups=hidden)
        gate = Gate(hidden, inputs // 4, activation=nn.SiLU)
        project = nn.Sequential(*convolution(hidden, outputs, 1, activation=None))
        self.block = nn.Sequential(*expand, filtered, gate, project)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        filtered: torch.Tensor = self.block(features)
        return features + filtered if self.is_residual else filtered


def _convolution(
    inputs: int, outputs: int, kernel: int, *, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    layers = convolution(inputs, outputs, kernel, stride=stride, groups=groups, activation=nn.SiLU)
    return nn.Sequential(*layers)
