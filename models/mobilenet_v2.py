"""MobileNet v2 (Sandler et al., 2018): inverted residuals with linear bottlenecks."""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Gt
from torch import nn

from edgepress.models._card import Card, Variant, card
from edgepress.models._layers import convolution, initialise, scaled

STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
"""(expansion, channels at width 1, blocks, stride of the first block): table 2 of the paper."""


@card(
    Card(
        paper="Sandler et al., MobileNetV2: Inverted Residuals and Linear Bottlenecks, CVPR 2018 (arXiv:1801.04381)",
        parameters=3_504_872,
        macs=300_774_272,
        top1=72.0,
        source="the paper, table 4: 72.0 %, 300 M multiply-adds, 3.4 M parameters; exact counts as in "
        "torchvision, whose parameter names these are; widths 0.5 and 0.75 from the authors' table of checkpoints",
        variants=(
            Variant(options={"width": 0.5}, parameters=1_968_680, macs=97_131_840, top1=65.4),
            Variant(options={"width": 0.75}, parameters=2_636_424, macs=209_069_792, top1=69.8),
            Variant(options={"width": 1.4}, parameters=6_108_776, macs=582_195_824, top1=74.7),
        ),
    )
)
def mobilenet_v2(
    *,
    classes: Annotated[int, Gt(0)] = 1000,
    width: Annotated[float, Gt(0)] = 1.0,
    in_channels: Annotated[int, Gt(0)] = 3,
    small_input: bool = False,
) -> nn.Module:
    """MobileNet v2 of any width; `small_input` drops two halvings, for pictures of about 32 pixels."""
    return MobileNetV2(classes, width, in_channels, small_input)


class MobileNetV2(nn.Module):
    """N x in_channels x height x width to N x classes logits; the features are 1/32 (small: 1/8) as wide."""

    def __init__(self, classes: int, width: float, in_channels: int, small_input: bool) -> None:
        super().__init__()
        channels = scaled(32, width)
        stem_stride = 1 if small_input else 2
        blocks: list[nn.Module] = [_convolution(in_channels, channels, 3, stride=stem_stride)]
        for index, (expansion, base, repeats, first_stride) in enumerate(STAGES):
            outputs = scaled(base, width)
            for repeat in range(repeats):
                stride = first_stride if repeat == 0 and not (small_input and index == 1) else 1
                blocks.append(InvertedResidual(channels, outputs, stride, expansion))
                channels = outputs
        last = scaled(1280, max(1.0, width))
        self.features = nn.Sequential(*blocks, _convolution(channels, last, 1))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(last, classes))
        initialise(self)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.classifier(torch.flatten(self.avgpool(self.features(pictures)), 1))
        return logits


class InvertedResidual(nn.Module):
    """Expand 1x1, filter depthwise 3x3, project 1x1 without activation; added to its input where shapes allow."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.is_residual = stride == 1 and inputs == outputs
        expand = [_convolution(inputs, hidden, 1)] if expansion != 1 else []
        filtered = _convolution(hidden, hidden, 3, stride=stride, groups=hidden)
        self.conv = nn.Sequential(*expand, filtered, *convolution(hidden, outputs, 1, activation=None))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        filtered: torch.Tensor = self.conv(features)
        return features + filtered if self.is_residual else filtered


def _convolution(
    inputs: int, outputs: int, kernel: int, *, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    return nn.Sequential(
        *convolution(inputs, outputs, kernel, stride=stride, groups=groups, activation=nn.ReLU6)
    )
