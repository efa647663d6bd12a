"""MobileNet v1 (Howard et al., 2017): depthwise convolutions, each with a pointwise one behind it."""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Gt
from torch import nn

from edgepress.models._card import Card, Variant, card
from edgepress.models._layers import convolution, initialise, scaled

BLOCKS = (
    (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1),
    (512, 1), (512, 1), (512, 1), (512, 1), (1024, 2), (1024, 1),
)  # fmt: skip
"""(channels at width 1, stride) of the thirteen separable blocks: table 1 of the paper, its last stride
read as 1, which is what the sizes in the same table say."""


@card(
    Card(
        paper="Howard et al., MobileNets: Efficient Convolutional Neural Networks for Mobile Vision "
        "Applications, 2017 (arXiv:1704.04861)",
        parameters=4_231_976,
        macs=568_740_352,
        top1=70.6,
        source="the paper, table 8: 70.6 %, 569 M multiply-adds, 4.2 M parameters; other widths from table 6",
        variants=(
            Variant(options={"width": 0.75}, parameters=2_585_560, macs=325_400_448, top1=68.4),
            Variant(options={"width": 0.5}, parameters=1_331_592, macs=149_497_088, top1=63.7),
            Variant(options={"width": 0.25}, parameters=470_072, macs=41_030_272, top1=50.6),
        ),
    )
)
def mobilenet_v1(
    *,
    classes: Annotated[int, Gt(0)] = 1000,
    width: Annotated[float, Gt(0)] = 1.0,
    in_channels: Annotated[int, Gt(0)] = 3,
    small_input: bool = False,
) -> nn.Module:
    """MobileNet v1 of any width; `small_input` drops two halvings, for pictures of about 32 pixels."""
    return MobileNetV1(classes, width, in_channels, small_input)


class MobileNetV1(nn.Module):
    """N x in_channels x height x width to N x classes logits; the features are 1/32 (small: 1/8) as wide."""

    def __init__(self, classes: int, width: float, in_channels: int, small_input: bool) -> None:
        super().__init__()
        channels = scaled(32, width)
        stem_stride = 1 if small_input else 2
        blocks = [nn.Sequential(*convolution(in_channels, channels, 3, stride=stem_stride))]
        for index, (base, stride) in enumerate(BLOCKS):
            outputs = scaled(base, width)
            blocks.append(_separable(channels, outputs, 1 if small_input and index == 1 else stride))
            channels = outputs
        self.features = nn.Sequential(*blocks)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(channels, classes)
        initialise(self)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.classifier(torch.flatten(self.avgpool(self.features(pictures)), 1))
        return logits


def _separable(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    depthwise = convolution(inputs, inputs, 3, stride=stride, groups=inputs)
    return nn.Sequential(*depthwise, *convolution(inputs, outputs, 1))
