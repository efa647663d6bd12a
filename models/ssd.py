"""SSD300 on VGG-16 (Liu et al., 2016) and SSDLite on MobileNet v2 (Sandler et al., 2018): boxes from maps of many sizes.

What the outputs mean is read by `edgepress.detection.Anchored`, outside of the exported graph.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from annotated_types import Ge
from torch import nn

from edgepress.detection import Anchored, Level
from edgepress.models import _vgg_body
from edgepress.models._anchored import Shape, box_shapes, halved, listed
from edgepress.models._card import Card, card
from edgepress.models._layers import Count, Factor, convolution, initialise, scaled
from edgepress.models.mobilenet_v2 import InvertedResidual, MobileNetV2
from edgepress.preprocess import Preprocess

LiteSide = Annotated[int, Ge(64)]

SCALES = (0.07, 0.15, 0.33, 0.51, 0.69, 0.87, 1.05)
RATIOS: tuple[tuple[float, ...], ...] = ((2,), (2, 3), (2, 3), (2, 3), (2,), (2,))
SIDES, STEPS = (38, 19, 10, 5, 3, 1), (8, 16, 32, 64, 100, 300)
"""Of SSD300's six maps: shares of the picture's side, ratios of sides, places a side and the pixels between them."""
SCALE_WEIGHT = 20.0
"""The length that features of the first map start with."""
TAPPED = 14
"""The inverted residual of MobileNet v2 whose expansion gives the first map, 1/16 as wide as the picture."""
LITE_SCALES = (0.2, 0.35, 0.5, 0.65, 0.8, 0.95, 1.0)
LITE_EXTRAS = ((256, 512), (128, 256), (128, 256), (64, 128))
"""(narrow, wide) channels of the extra layers."""


@card(
    Card(
        paper="Liu et al., SSD: Single Shot MultiBox Detector, ECCV 2016 (arXiv:1512.02325)",
        task="detection",
        parameters=35_641_826,
        macs=34_858_153_472,
        dataset="COCO",
        map=25.1,
        source="mAP and exact counts from torchvision's ssd300_vgg16, whose parameter names these are; the paper has "
        "23.2 on test-dev2015",
        preprocess=Preprocess(size=(300, 300), mean=(0.48235, 0.45882, 0.40784), std=(1 / 255,) * 3),
    )
)
def ssd300(
    *, classes: Count = 90, in_channels: Count = 3, width: Factor = 1.0, size: Literal[300] = 300
) -> nn.Module:
    """SSD300 on VGG-16."""
    return SSD300(classes, in_channels, width, size)


@card(
    Card(
        paper="Sandler et al., MobileNetV2: Inverted Residuals and Linear Bottlenecks, CVPR 2018 (arXiv:1801.04381)",
        task="detection",
        parameters=4_337_013,
        macs=788_830_144,
        dataset="COCO test-dev",
        map=22.1,
        source="mAP from the paper, table 6, which has 4.3 M parameters and 0.8 B multiply-adds",
        preprocess=Preprocess(size=(320, 320), mean=(0.5,) * 3, std=(0.5,) * 3),
    )
)
def ssdlite_mobilenet_v2(
    *, classes: Count = 80, in_channels: Count = 3, width: Factor = 1.0, size: LiteSide = 320
) -> nn.Module:
    """SSDLite on MobileNet v2: SSD with depthwise separable convolutions."""
    return SSDLite(classes, in_channels, width, size)


class SSD300(nn.Module):
    """N x in_channels x size x size to logits N x anchors x (classes + 1), the background first, and offsets N x
    anchors x 4."""

    def __init__(self, classes: int, in_channels: int, width: float, size: int) -> None:
        super().__init__()
        self.backbone = VggMaps(in_channels, width)
        counts = [2 + 2 * len(ratios) for ratios in RATIOS]
        self.head = nn.ModuleDict(
            {
                "classification_head": MapHeads(self.backbone.channels, counts, classes + 1),
                "regression_head": MapHeads(self.backbone.channels, counts, 4),
            }
        )
        initialise(self)
        self.reading = Anchored(size=(size, size), levels=_vgg_levels(size))

    def forward(self, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = self.backbone(pictures)
        return self.head["classification_head"](features), self.head["regression_head"](features)


class VggMaps(nn.Module):
    """The six maps of SSD300: VGG-16's fourth stage, its classifier as convolutions, and four halvings."""

    def __init__(self, in_channels: int, width: float) -> None:
        super().__init__()
        channels = _vgg_body.stage_channels(width)
        inputs = (in_channels, *channels)
        layers: list[nn.Module] = []
        for number in range(4):
            layers += _vgg_body.stage(inputs[number], channels[number], _vgg_body.DEPTHS[number])
            if number < 3:
                layers.append(nn.MaxPool2d(2, ceil_mode=number == 2))
        self.features = nn.Sequential(*layers)
        self.scale_weight = nn.Parameter(torch.full((channels[3],), SCALE_WEIGHT))
        wide, middle, narrow, thin = (scaled(base, width) for base in (1024, 512, 256, 128))
        fully = nn.Sequential(
            nn.MaxPool2d(3, 1, 1),
            nn.Conv2d(channels[4], wide, 3, padding=6, dilation=6), nn.ReLU(),
            nn.Conv2d(wide, wide, 1), nn.ReLU(),
        )  # fmt: skip
        last_stage = _vgg_body.stage(channels[3], channels[4], _vgg_body.DEPTHS[4])
        self.extra = nn.ModuleList(
            [
                nn.Sequential(nn.MaxPool2d(2), *last_stage, fully),
                _extra(wide, narrow, middle, stride=2),
                _extra(middle, thin, narrow, stride=2),
                _extra(narrow, thin, narrow, stride=1),
                _extra(narrow, thin, narrow, stride=1),
            ]
        )
        self.channels = (channels[3], wide, middle, narrow, narrow, narrow)

    def forward(self, pictures: torch.Tensor) -> list[torch.Tensor]:
        features = self.features(pictures)
        maps = [nn.functional.normalize(features) * self.scale_weight.view(1, -1, 1, 1)]
        for layers in self.extra:
            features = layers(features)
            maps.append(features)
        return maps


class MapHeads(nn.Module):
    """One 3x3 convolution a map, for `values` of each of its anchors."""

    def __init__(self, channels: Sequence[int], counts: Sequence[int], values: int) -> None:
        super().__init__()
        self.values = values
        self.module_list = nn.ModuleList(
            nn.Conv2d(inputs, count * values, 3, padding=1)
            for inputs, count in zip(channels, counts, strict=True)
        )

    def forward(self, maps: list[torch.Tensor]) -> torch.Tensor:
        return listed(maps, self.module_list, self.values)


class SSDLite(nn.Module):
    """N x in_channels x size x size to logits N x anchors x (classes + 1), the background first, and offsets N x
    anchors x 4."""

    def __init__(self, classes: int, in_channels: int, width: float, size: int) -> None:
        super().__init__()
        body = MobileNetV2(classes, width, in_channels, small_input=False).features
        blocks = list(body.children())
        tapped = blocks[TAPPED]
        assert isinstance(tapped, InvertedResidual)
        expansion, *filters = tapped.conv.children()
        self.first = nn.Sequential(*blocks[:TAPPED], expansion)
        self.rest = nn.Sequential(*filters, *blocks[TAPPED + 1 :])
        channels = [6 * scaled(96, width), scaled(1280, max(1.0, width))]
        self.extras = nn.ModuleList()
        for narrow, wide in LITE_EXTRAS:
            self.extras.append(_lite_extra(channels[-1], scaled(narrow, width), scaled(wide, width)))
            channels.append(scaled(wide, width))
        self.values = classes + 1
        self.classification, self.regression = (
            nn.ModuleList(
                _lite_head(inputs, values * len(shapes))
                for inputs, shapes in zip(channels, _lite_shapes(size), strict=True)
            )
            for values in (self.values, 4)
        )
        initialise(self)
        self.reading = Anchored(size=(size, size), levels=_lite_levels(size))

    def forward(self, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        maps = [self.first(pictures)]
        for layers in (self.rest, *self.extras):
            maps.append(layers(maps[-1]))
        return listed(maps, self.classification, self.values), listed(maps, self.regression, 4)


def _extra(inputs: int, narrow: int, outputs: int, *, stride: int) -> nn.Sequential:
    """1x1 to few channels, then 3x3 that halves (stride 2) or takes a rim of one (stride 1)."""
    filtered = nn.Conv2d(narrow, outputs, 3, stride, padding=stride - 1)
    return nn.Sequential(nn.Conv2d(inputs, narrow, 1), nn.ReLU(), filtered, nn.ReLU())


def _lite_extra(inputs: int, narrow: int, outputs: int) -> nn.Sequential:
    """The same with the 3x3 depthwise, which halves, and a 1x1 behind it."""
    return nn.Sequential(
        *convolution(inputs, narrow, 1, activation=nn.ReLU6),
        *convolution(narrow, narrow, 3, stride=2, groups=narrow, activation=nn.ReLU6),
        *convolution(narrow, outputs, 1, activation=nn.ReLU6),
    )


def _lite_head(inputs: int, outputs: int) -> nn.Sequential:
    filtered = convolution(inputs, inputs, 3, groups=inputs, activation=nn.ReLU6)
    return nn.Sequential(*filtered, nn.Conv2d(inputs, outputs, 1))


def _vgg_levels(size: int) -> tuple[Level, ...]:
    scales = zip(SCALES, SCALES[1:], RATIOS, strict=False)
    shapes = [box_shapes(scale, following, ratios, size) for scale, following, ratios in scales]
    return tuple(
        Level(side, side, (step, step), each) for side, step, each in zip(SIDES, STEPS, shapes, strict=True)
    )


def _lite_shapes(size: int) -> list[tuple[Shape, ...]]:
    """Three anchors on the finest map, of which the square is half as large, and six on every other."""
    first = LITE_SCALES[0] * size
    wide, tall = first * math.sqrt(2), first / math.sqrt(2)
    scales = zip(LITE_SCALES[1:], LITE_SCALES[2:], strict=False)
    others = [box_shapes(scale, following, (2, 3), size) for scale, following in scales]
    return [((first / 2, first / 2), (wide, tall), (tall, wide)), *others]


def _lite_levels(size: int) -> tuple[Level, ...]:
    sides = [size]
    for _ in range(9):
        sides.append(halved(sides[-1]))
    return tuple(
        Level(side, side, (size / side, size / side), shapes)
        for side, shapes in zip(sides[4:], _lite_shapes(size), strict=True)
    )
