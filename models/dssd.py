"""DSSD (Fu et al., 2017): SSD on ResNet-101, whose maps are widened again and joined with the finer ones."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

from edgepress.detection import Anchored, Level
from edgepress.models import _resnet_body
from edgepress.models._anchored import box_shapes, listed
from edgepress.models._card import Card, card
from edgepress.models._layers import Count, Factor, convolution, initialise, scaled
from edgepress.models.resnet import Bottleneck
from edgepress.preprocess import Preprocess

SIDES = (40, 20, 10, 5, 3, 1)
"""Places a side of the six maps: the paper's figure 1, for pictures of 321 pixels."""
SCALES = (0.1, 0.2, 0.375, 0.55, 0.725, 0.9, 1.05)
RATIOS = (1.6, 2.0, 3.0)
ANCHORS = 2 + 2 * len(RATIOS)
EXTRA, JOINED, PREDICTED = 1024, 512, 1024
"""Channels of the extra maps, of the joined ones and of the prediction modules."""


@card(
    Card(
        paper="Fu et al., DSSD: Deconvolutional Single Shot Detector, 2017 (arXiv:1701.06659)",
        task="detection",
        parameters=127_877_872,
        macs=45_712_340_160,
        dataset="PASCAL VOC 2007",
        map=78.6,
        source="mAP of DSSD321 from the paper, with its 17,080 anchors; it gives no counts, and does not say "
        "of which layers its extra maps are: here they are bottlenecks, and for the last a 3x3 convolution without padding",
        preprocess=Preprocess(size=(321, 321)),
    )
)
def dssd321(
    *, classes: Count = 20, in_channels: Count = 3, width: Factor = 1.0, size: Literal[321] = 321
) -> nn.Module:
    """DSSD321 on ResNet-101, with the prediction module (c) and the products of the paper."""
    return DSSD(classes, in_channels, width, size)


class DSSD(nn.Module):
    """N x in_channels x 321 x 321 to logits N x anchors x (classes + 1), the background first, and offsets N x
    anchors x 4."""

    def __init__(self, classes: int, in_channels: int, width: float, size: int) -> None:
        super().__init__()
        self.backbone = _resnet_body.ResNetBody(_resnet_body.DEPTHS_101, in_channels, width, (1, 1, 1, 2))
        self.backbone.maxpool = nn.MaxPool2d(3, 2, ceil_mode=True)
        extra, joined, predicted = (scaled(count, width) for count in (EXTRA, JOINED, PREDICTED))
        channels = [self.backbone.channels[1], self.backbone.channels[3]]
        self.extras = nn.ModuleList()
        for _ in SIDES[2:-1]:
            self.extras.append(Bottleneck(channels[-1], extra, 2))
            channels.append(extra)
        rest = nn.Conv2d(extra // 4, extra, SIDES[-2], bias=False)
        self.extras.append(
            nn.Sequential(*convolution(extra, extra // 4, 1), rest, nn.BatchNorm2d(extra), nn.ReLU())
        )
        self.widest = nn.Sequential(*convolution(extra, joined, 1))
        self.joins = nn.ModuleList(
            Join(inputs, joined, widened)
            for inputs, widened in zip(reversed(channels), _widenings(), strict=True)
        )
        self.predictions = nn.ModuleList(Prediction(joined, predicted) for _ in SIDES)
        self.classification, self.regression = (
            nn.ModuleList(nn.Conv2d(predicted, ANCHORS * values, 3, padding=1) for _ in SIDES)
            for values in (classes + 1, 4)
        )
        self.values = classes + 1
        initialise(self)
        self.reading = Anchored(size=(size, size), levels=_levels(size), measure="voc11")

    def forward(self, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        _, fine, _, coarse = self.backbone(pictures)
        maps = [fine, coarse]
        for layers in self.extras:
            maps.append(layers(maps[-1]))
        joined = [self.widest(maps.pop())]
        for join in self.joins:
            joined.append(join(maps.pop(), joined[-1]))
        seen = [
            prediction(features) for prediction, features in zip(self.predictions, joined[::-1], strict=True)
        ]
        return listed(seen, self.classification, self.values), listed(seen, self.regression, 4)


class Join(nn.Module):
    """The product of finer features, filtered twice, with coarser ones, widened by a transposed convolution."""

    def __init__(self, inputs: int, outputs: int, widened: tuple[int, int]) -> None:
        super().__init__()
        kernel, padding = widened
        self.finer = nn.Sequential(
            *convolution(inputs, outputs, 3), *convolution(outputs, outputs, 3, activation=None)
        )
        self.coarser = nn.Sequential(
            nn.ConvTranspose2d(outputs, outputs, kernel, 2, padding, bias=False),
            *convolution(outputs, outputs, 3, activation=None),
        )
        self.relu = nn.ReLU()

    def forward(self, finer: torch.Tensor, coarser: torch.Tensor) -> torch.Tensor:
        joined: torch.Tensor = self.relu(self.finer(finer) * self.coarser(coarser))
        return joined


class Prediction(nn.Module):
    """Three 1x1 convolutions beside one, added: module (c) of the paper's figure 2."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        narrow = outputs // 4
        self.filters = nn.Sequential(
            *convolution(inputs, narrow, 1),
            *convolution(narrow, narrow, 1),
            *convolution(narrow, outputs, 1, activation=None),
        )
        self.shortcut = nn.Sequential(*convolution(inputs, outputs, 1, activation=None))
        self.relu = nn.ReLU()

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        seen: torch.Tensor = self.relu(self.filters(features) + self.shortcut(features))
        return seen


def _widenings() -> list[tuple[int, int]]:
    """(kernel, padding) of the transposed convolutions with stride 2 from each map to the next finer one."""
    odd = {1: (3, 0), 3: (3, 1)}
    return [odd.get(side, (2, 0)) for side in SIDES[:0:-1]]


def _levels(size: int) -> tuple[Level, ...]:
    scales = zip(SIDES, SCALES, SCALES[1:], strict=False)
    return tuple(
        Level(side, side, (size / side, size / side), box_shapes(scale, following, RATIOS, size))
        for side, scale, following in scales
    )
