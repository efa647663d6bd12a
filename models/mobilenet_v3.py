"""MobileNet v3 (Howard et al., 2019): searched inverted residuals with gates and hard swish."""

from __future__ import annotations

from typing import Annotated, NamedTuple

import torch
from annotated_types import Gt
from torch import nn

from edgepress.models._card import Card, Variant, card
from edgepress.models._layers import Count, convolution, initialise, scaled
from edgepress.models.senet import Gate

PAPER = "Howard et al., Searching for MobileNetV3, ICCV 2019 (arXiv:1905.02244)"
SOURCE = "the paper, tables 3 and 4; exact counts as in torchvision, whose parameter names these are"
Width = Annotated[float, Gt(0)]


class Block(NamedTuple):
    """One line of the paper's tables: kernel, channels inside, channels it gives, and so on."""

    kernel: int
    hidden: int
    outputs: int
    has_gate: bool
    activation: type[nn.Module]
    stride: int


RE, HS = nn.ReLU, nn.Hardswish
LARGE = (
    Block(3, 16, 16, False, RE, 1),
    Block(3, 64, 24, False, RE, 2), Block(3, 72, 24, False, RE, 1),
    Block(5, 72, 40, True, RE, 2), Block(5, 120, 40, True, RE, 1), Block(5, 120, 40, True, RE, 1),
    Block(3, 240, 80, False, HS, 2), Block(3, 200, 80, False, HS, 1),
    Block(3, 184, 80, False, HS, 1), Block(3, 184, 80, False, HS, 1),
    Block(3, 480, 112, True, HS, 1), Block(3, 672, 112, True, HS, 1),
    Block(5, 672, 160, True, HS, 2), Block(5, 960, 160, True, HS, 1), Block(5, 960, 160, True, HS, 1),
)  # fmt: skip
"""Table 1 of the paper."""
SMALL = (
    Block(3, 16, 16, True, RE, 2),
    Block(3, 72, 24, False, RE, 2), Block(3, 88, 24, False, RE, 1),
    Block(5, 96, 40, True, HS, 2), Block(5, 240, 40, True, HS, 1), Block(5, 240, 40, True, HS, 1),
    Block(5, 120, 48, True, HS, 1), Block(5, 144, 48, True, HS, 1),
    Block(5, 288, 96, True, HS, 2), Block(5, 576, 96, True, HS, 1), Block(5, 576, 96, True, HS, 1),
)  # fmt: skip
"""Table 2 of the paper."""
STEM_CHANNELS = 16


def _card(parameters: int, macs: int, top1: float, *, narrow: tuple[int, int, float]) -> Card:
    """`narrow` are the same three figures at a width of 0.75."""
    variant = Variant(options={"width": 0.75}, parameters=narrow[0], macs=narrow[1], top1=narrow[2])
    return Card(paper=PAPER, parameters=parameters, macs=macs, top1=top1, source=SOURCE, variants=(variant,))


@card(_card(5_483_032, 216_589_760, 75.2, narrow=(3_993_528, 154_560_624, 73.3)))
def mobilenet_v3_large(
    *, classes: Count = 1000, width: Width = 1.0, in_channels: Count = 3, small_input: bool = False
) -> nn.Module:
    """MobileNet v3 large of any width; `small_input` drops two halvings, for pictures of about 32 pixels."""
    return MobileNetV3(LARGE, 1280, classes, width, in_channels, small_input)


@card(_card(2_542_856, 56_510_400, 67.4, narrow=(2_041_872, 43_399_344, 65.4)))
def mobilenet_v3_small(
    *, classes: Count = 1000, width: Width = 1.0, in_channels: Count = 3, small_input: bool = False
) -> nn.Module:
    """MobileNet v3 small of any width; `small_input` drops two halvings, for pictures of about 32 pixels."""
    return MobileNetV3(SMALL, 1024, classes, width, in_channels, small_input)


class MobileNetV3(nn.Module):
    """N x in_channels x height x width to N x classes logits; the features are 1/32 (small: 1/8) as wide.

    `last` are the channels between the two linear layers.
    """

    def __init__(
        self, blocks: tuple[Block, ...], last: int, classes: int, width: float, in_channels: int, small_input: bool
    ) -> None:  # fmt: skip
        super().__init__()
        channels = scaled(STEM_CHANNELS, width)
        layers: list[nn.Module] = [_convolution(in_channels, channels, 3, HS, stride=1 if small_input else 2)]
        first_halving = next(block for block in blocks if block.stride == 2)
        before = STEM_CHANNELS
        for block in blocks:
            stride = 1 if small_input and block is first_halving else block.stride
            hidden, outputs = scaled(channels, block.hidden / before), scaled(block.outputs, width)
            layers.append(InvertedResidual(channels, hidden, outputs, block, stride))
            channels, before = outputs, block.outputs
        final = 6 * channels
        self.features = nn.Sequential(*layers, _convolution(channels, final, 1, HS))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        last = scaled(last, max(1.0, width))
        self.classifier = nn.Sequential(
            nn.Linear(final, last), HS(), nn.Dropout(0.2), nn.Linear(last, classes)
        )
        initialise(self)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.classifier(torch.flatten(self.avgpool(self.features(pictures)), 1))
        return logits


class InvertedResidual(nn.Module):
    """Expand 1x1, filter depthwise, gate, project 1x1 without activation; added to its input where shapes allow."""

    def __init__(self, inputs: int, hidden: int, outputs: int, block: Block, stride: int) -> None:
        super().__init__()
        act = block.activation
        self.is_residual = stride == 1 and inputs == outputs
        layers: list[nn.Module] = [] if hidden == inputs else [_convolution(inputs, hidden, 1, act)]
        layers.append(_convolution(hidden, hidden, block.kernel, act, stride=stride, groups=hidden))
        if block.has_gate:
            layers.append(Gate(hidden, scaled(hidden, 1 / 4), factor=nn.Hardsigmoid))
        self.block = nn.Sequential(*layers, _convolution(hidden, outputs, 1, None))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        filtered: torch.Tensor = self.block(features)
        return features + filtered if self.is_residual else filtered


def _convolution(
    inputs: int, outputs: int, kernel: int, activation: type[nn.Module] | None, *, stride: int = 1, groups: int = 1
) -> nn.Sequential:  # fmt: skip
    layers = convolution(inputs, outputs, kernel, stride=stride, groups=groups, activation=activation)
    layers[1] = nn.BatchNorm2d(outputs, eps=0.001, momentum=0.01)
    return nn.Sequential(*layers)
