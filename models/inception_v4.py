"""Inception v4 (Szegedy, Ioffe, Vanhoucke, Alemi, 2016): inception modules in uniform stages behind a branching stem."""

from __future__ import annotations

import torch
from torch import nn

from edgepress.models._card import Card, card
from edgepress.models._layers import Count, initialise
from edgepress.models.inception_v3 import INCEPTION, Convolution

ROW, COLUMN = (1, 7), (7, 1)
ROW3, COLUMN3 = (1, 3), (3, 1)


@card(
    Card(
        paper="Szegedy et al., Inception-v4, Inception-ResNet and the Impact of Residual Connections on Learning, AAAI 2017 "
        "(arXiv:1602.07261)",
        parameters=42_679_816,
        macs=12_253_974_624,
        top1=80.0,
        source="the paper, table 2: 20.0 % error; exact counts as in the released weights' network, without auxiliary classifier",
        preprocess=INCEPTION,
    )
)
def inception_v4(*, classes: Count = 1000, in_channels: Count = 3) -> nn.Module:
    """Inception v4, for pictures of 299 x 299 pixels."""
    return InceptionV4(classes, in_channels)


class InceptionV4(nn.Module):
    """N x in_channels x height x width to N x classes logits; the features are about 1/37 as wide."""

    def __init__(self, classes: int, in_channels: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            _stem(in_channels),
            *(_inception_a() for _ in range(4)), _reduction_a(),
            *(_inception_b() for _ in range(7)), _reduction_b(),
            *(_inception_c() for _ in range(3)),
        )  # fmt: skip
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(0.2)
        self.classifier = nn.Linear(1536, classes)
        initialise(self)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.classifier(
            self.dropout(torch.flatten(self.avgpool(self.features(pictures)), 1))
        )
        return logits


class Branches(nn.Module):
    """What several modules make of the same features, concatenated."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return torch.cat([branch(features) for branch in self.branches], dim=1)


def _stem(inputs: int) -> nn.Sequential:
    """Figure 3 of the paper: 384 channels, 1/8 as wide."""
    return nn.Sequential(
        Convolution(inputs, 32, 3, stride=2, padding=0),
        Convolution(32, 32, 3, padding=0),
        Convolution(32, 64, 3),
        Branches(nn.MaxPool2d(3, 2), Convolution(64, 96, 3, stride=2, padding=0)),
        Branches(
            nn.Sequential(Convolution(160, 64, 1), Convolution(64, 96, 3, padding=0)),
            nn.Sequential(*_chain(160, (64, 1), (64, ROW), (64, COLUMN)), Convolution(64, 96, 3, padding=0)),
        ),
        Branches(Convolution(192, 192, 3, stride=2, padding=0), nn.MaxPool2d(3, 2)),
    )


def _inception_a() -> Branches:
    """Figure 4 of the paper."""
    return Branches(
        Convolution(384, 96, 1),
        nn.Sequential(*_chain(384, (64, 1), (96, 3))),
        nn.Sequential(*_chain(384, (64, 1), (96, 3), (96, 3))),
        _pooled(384, 96),
    )


def _reduction_a() -> Branches:
    """Figure 7 of the paper, with the numbers of Inception v4 in its table 1."""
    return Branches(
        Convolution(384, 384, 3, stride=2, padding=0),
        nn.Sequential(*_chain(384, (192, 1), (224, 3)), Convolution(224, 256, 3, stride=2, padding=0)),
        nn.MaxPool2d(3, 2),
    )


def _inception_b() -> Branches:
    """Figure 5 of the paper."""
    return Branches(
        Convolution(1024, 384, 1),
        nn.Sequential(*_chain(1024, (192, 1), (224, ROW), (256, COLUMN))),
        nn.Sequential(*_chain(1024, (192, 1), (192, COLUMN), (224, ROW), (224, COLUMN), (256, ROW))),
        _pooled(1024, 128),
    )


def _reduction_b() -> Branches:
    """Figure 8 of the paper."""
    return Branches(
        nn.Sequential(Convolution(1024, 192, 1), Convolution(192, 192, 3, stride=2, padding=0)),
        nn.Sequential(
            *_chain(1024, (256, 1), (256, ROW), (320, COLUMN)), Convolution(320, 320, 3, stride=2, padding=0)
        ),
        nn.MaxPool2d(3, 2),
    )


def _inception_c() -> Branches:
    """Figure 6 of the paper."""
    return Branches(
        Convolution(1536, 256, 1),
        nn.Sequential(Convolution(1536, 384, 1), _cross(384)),
        nn.Sequential(*_chain(1536, (384, 1), (448, COLUMN3), (512, ROW3)), _cross(512)),
        _pooled(1536, 256),
    )


def _cross(inputs: int) -> Branches:
    """A row and a column of 3 side by side."""
    return Branches(Convolution(inputs, 256, ROW3), Convolution(inputs, 256, COLUMN3))


def _pooled(inputs: int, outputs: int) -> nn.Sequential:
    average = nn.AvgPool2d(3, 1, 1, count_include_pad=False)
    return nn.Sequential(average, Convolution(inputs, outputs, 1))


def _chain(inputs: int, *layers: tuple[int, int | tuple[int, int]]) -> list[nn.Module]:
    """Convolutions of so many outputs and such kernels, one behind the other."""
    sizes = (inputs, *(outputs for outputs, _ in layers))
    return [Convolution(size, *layer) for size, layer in zip(sizes, layers, strict=False)]
