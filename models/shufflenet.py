"""ShuffleNet v2 (Ma, Zhang, Zheng, Sun, 2018): half of the channels pass by, then all are shuffled."""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Gt
from torch import nn

from edgepress.errors import BadOption
from edgepress.models._card import Card, Variant, card
from edgepress.models._layers import convolution, initialise

CHANNELS = {
    0.5: (48, 96, 192, 1024),
    1.0: (116, 232, 464, 1024),
    1.5: (176, 352, 704, 1024),
    2.0: (244, 488, 976, 2048),
}
"""Channels of the three stages and of the last convolution by width: table 5 of the paper. At width 2
the table prints 224, 488, 976; its parameter count needs 244."""

STEM_CHANNELS = 24
UNITS = (4, 8, 4)


@card(
    Card(
        paper="Ma et al., ShuffleNet V2: Practical Guidelines for Efficient CNN Architecture Design, ECCV 2018 "
        "(arXiv:1807.11164)",
        parameters=2_278_604,
        macs=144_907_992,
        top1=69.4,
        source="the paper, table 8: 30.6 % error, 146 M multiply-adds; exact counts as in torchvision, whose "
        "parameter names these are",
        variants=(
            Variant(options={"width": 0.5}, parameters=1_366_792, macs=40_476_448, top1=60.3),
            Variant(options={"width": 1.5}, parameters=3_503_624, macs=295_759_392, top1=72.6),
            Variant(options={"width": 2.0}, parameters=7_393_996, macs=583_253_464, top1=74.9),
        ),
    )
)
def shufflenet_v2(
    *,
    classes: Annotated[int, Gt(0)] = 1000,
    width: Annotated[float, Gt(0)] = 1.0,
    in_channels: Annotated[int, Gt(0)] = 3,
    small_input: bool = False,
) -> nn.Module:
    """ShuffleNet v2 of width 0.5, 1, 1.5 or 2; `small_input` drops two halvings, for about 32 pixels."""
    if width not in CHANNELS:
        raise BadOption(f"ShuffleNet v2 has no width {width}.", hint="width is 0.5, 1.0, 1.5 or 2.0")
    return ShuffleNetV2(CHANNELS[width], classes, in_channels, small_input)


class ShuffleNetV2(nn.Module):
    """N x in_channels x height x width to N x classes logits; the features are 1/32 (small: 1/8) as wide."""

    def __init__(self, channels: tuple[int, ...], classes: int, in_channels: int, small_input: bool) -> None:
        super().__init__()
        *stages, last = channels
        stem_stride = 1 if small_input else 2
        self.conv1 = nn.Sequential(*convolution(in_channels, STEM_CHANNELS, 3, stride=stem_stride))
        self.maxpool = nn.Identity() if small_input else nn.MaxPool2d(3, 2, 1)
        inputs = (STEM_CHANNELS, *stages)
        self.stage2, self.stage3, self.stage4 = (
            _stage(*shape) for shape in zip(inputs, stages, UNITS, strict=False)
        )
        self.conv5 = nn.Sequential(*convolution(stages[-1], last, 1))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(last, classes)
        initialise(self)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        features = self.maxpool(self.conv1(pictures))
        features = self.stage4(self.stage3(self.stage2(features)))
        logits: torch.Tensor = self.fc(torch.flatten(self.avgpool(self.conv5(features)), 1))
        return logits


class Unit(nn.Module):
    """With stride 1 the second half of the channels is filtered; with stride 2 both branches see all of them."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        half = outputs // 2
        self.is_split = stride == 1
        self.branch1 = nn.Sequential()
        if stride == 2:
            depthwise = convolution(inputs, inputs, 3, stride=2, groups=inputs, activation=None)
            self.branch1 = nn.Sequential(*depthwise, *convolution(inputs, half, 1))
        self.branch2 = nn.Sequential(
            *convolution(half if self.is_split else inputs, half, 1),
            *convolution(half, half, 3, stride=stride, groups=half, activation=None),
            *convolution(half, half, 1),
        )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        passed, filtered = features.chunk(2, dim=1) if self.is_split else (features, features)
        return shuffle(torch.cat((self.branch1(passed), self.branch2(filtered)), dim=1))


def shuffle(features: torch.Tensor) -> torch.Tensor:
    """Interleave the two halves of the channels of an N x C x H x W tensor."""
    batch, channels, height, width = features.shape
    halves = features.view(batch, 2, channels // 2, height, width)
    return halves.transpose(1, 2).reshape(batch, channels, height, width)


def _stage(inputs: int, outputs: int, units: int) -> nn.Sequential:
    return nn.Sequential(Unit(inputs, outputs, 2), *(Unit(outputs, outputs, 1) for _ in range(units - 1)))
