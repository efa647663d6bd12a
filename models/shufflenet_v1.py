"""ShuffleNet v1 (Zhang, Zhou, Lin, Sun, 2017): grouped 1x1 convolutions, and shuffles that let the groups meet."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

from edgepress.errors import BadOption
from edgepress.models._card import Card, Variant, card
from edgepress.models._layers import Count, convolution, initialise

Groups = Literal[1, 2, 3, 4, 8]
CHANNELS: dict[int, int] = {1: 144, 2: 200, 3: 240, 4: 272, 8: 384}
"""Of the first stage at width 1, by groups: table 1 of the paper. Each later stage has twice as many."""
STEM_CHANNELS: dict[float, int] = {0.25: 12, 0.5: 12, 1.0: 24, 1.5: 24, 2.0: 48}
"""By width, as in the authors' code; rounded up to a multiple of the groups."""
UNITS = (4, 8, 4)
NARROWING = 4
"""How many times fewer channels a unit has inside."""


@card(
    Card(
        paper="Zhang et al., ShuffleNet: An Extremely Efficient Convolutional Neural Network for Mobile Devices, CVPR 2018 "
        "(arXiv:1707.01083)",
        parameters=1_865_728,
        macs=137_460_672,
        top1=67.4,
        source="top-1 from the paper, tables 2 and 4, multiply-adds there; parameters from the authors' code, which has the same "
        "stem and no bias in the last layer",
        variants=(
            Variant(options={"groups": 1}, parameters=1_531_936, macs=143_078_976, top1=66.4),
            Variant(options={"groups": 2}, parameters=1_733_848, macs=140_836_512, top1=67.3),
            Variant(options={"groups": 4}, parameters=1_968_344, macs=134_339_776, top1=67.2),
            Variant(options={"groups": 8}, parameters=2_434_768, macs=138_365_952, top1=67.6),
            Variant(options={"width": 0.25}, parameters=306_124, macs=13_300_656, top1=45.0),
            Variant(options={"width": 0.5}, parameters=718_324, macs=37_589_856, top1=56.8),
            Variant(options={"width": 1.5}, parameters=3_442_168, macs=292_443_552, top1=71.5),
            Variant(options={"width": 2.0}, parameters=5_450_776, macs=524_045_184, top1=73.7),
            Variant(options={"groups": 8, "width": 0.25}, parameters=454_888, macs=15_719_040, top1=47.3),
            Variant(options={"groups": 8, "width": 0.5}, parameters=1_011_448, macs=40_469_760, top1=57.7),
            Variant(options={"groups": 8, "width": 1.5}, parameters=4_269_952, macs=290_188_800, top1=71.0),
            Variant(options={"groups": 8, "width": 2.0}, parameters=6_522_232, macs=521_942_016, top1=72.9),
        ),
    )
)
def shufflenet_v1(
    *,
    classes: Count = 1000,
    groups: Groups = 3,
    width: float = 1.0,
    in_channels: Count = 3,
    small_input: bool = False,
) -> nn.Module:
    """ShuffleNet v1 of so many groups and this width; `small_input` drops two halvings, for about 32 pixels."""
    if width not in STEM_CHANNELS:
        raise BadOption(f"ShuffleNet v1 has no width {width}.", hint="width is 0.25, 0.5, 1.0, 1.5 or 2.0")
    return ShuffleNetV1(groups, width, classes, in_channels, small_input)


class ShuffleNetV1(nn.Module):
    """N x in_channels x height x width to N x classes logits; the features are 1/32 (small: 1/8) as wide."""

    def __init__(self, groups: int, width: float, classes: int, in_channels: int, small_input: bool) -> None:
        super().__init__()
        inputs = _multiple(STEM_CHANNELS[width], groups)
        self.conv1 = nn.Sequential(*convolution(in_channels, inputs, 3, stride=1 if small_input else 2))
        self.maxpool = nn.Identity() if small_input else nn.MaxPool2d(3, 2, 1)
        stages = []
        for number, units in enumerate(UNITS):
            outputs = int(CHANNELS[groups] * width) * 2**number
            first = Unit(inputs, outputs, groups, stride=2, squeeze_groups=1 if number == 0 else groups)
            stages.append(nn.Sequential(first, *(Unit(outputs, outputs, groups) for _ in range(units - 1))))
            inputs = outputs
        self.stage2, self.stage3, self.stage4 = stages
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(inputs, classes)
        initialise(self)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        features = self.maxpool(self.conv1(pictures))
        features = self.stage4(self.stage3(self.stage2(features)))
        logits: torch.Tensor = self.fc(torch.flatten(self.avgpool(features), 1))
        return logits


class Unit(nn.Module):
    """Grouped 1x1, shuffle, depthwise 3x3, grouped 1x1: added to its input, or with stride 2 put behind its average."""

    def __init__(
        self, inputs: int, outputs: int, groups: int, *, stride: int = 1, squeeze_groups: int | None = None
    ) -> None:
        super().__init__()
        hidden = _multiple(outputs // NARROWING, groups)
        made = outputs if stride == 1 else outputs - inputs
        self.groups = groups
        self.squeeze = nn.Sequential(*convolution(inputs, hidden, 1, groups=squeeze_groups or groups))
        self.expand = nn.Sequential(
            *convolution(hidden, hidden, 3, stride=stride, groups=hidden, activation=None),
            *convolution(hidden, made, 1, groups=groups, activation=None),
        )
        self.relu = nn.ReLU()
        self.passed = nn.Identity() if stride == 1 else nn.AvgPool2d(3, 2, 1)
        self.is_residual = stride == 1

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        made = self.expand(shuffle(self.squeeze(features), self.groups))
        passed = self.passed(features)
        if self.is_residual:
            output: torch.Tensor = self.relu(made + passed)
            return output
        return torch.cat((passed, self.relu(made)), dim=1)


def shuffle(features: torch.Tensor, groups: int) -> torch.Tensor:
    """The channels of an N x C x H x W tensor taken from its groups in turn."""
    if groups == 1:
        return features
    batch, channels, height, width = features.shape
    parts = features.view(batch, groups, channels // groups, height, width)
    return parts.transpose(1, 2).reshape(batch, channels, height, width)


def _multiple(channels: int, groups: int) -> int:
    """`channels`, or the next multiple of the groups."""
    return -(-channels // groups) * groups
