"""RetinaNet (Lin et al., 2017): a feature pyramid whose every place is classified, trained with the focal loss.

What the outputs mean is read by `edgepress.detection.Anchored`, outside of the exported graph.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from edgepress.detection import Anchored, Level, Selection
from edgepress.models import _fpn
from edgepress.models._anchored import Shape, listed
from edgepress.models._card import Card, card
from edgepress.models._layers import Count, Factor, Side, initialise, scaled
from edgepress.preprocess import Preprocess

SIZES = (32, 64, 128, 256, 512)
OCTAVES = (0, 1 / 3, 2 / 3)
RATIOS = (0.5, 1.0, 2.0)
"""Anchors: the side of the smallest square of each map, parts of a doubling between maps, and height by width."""
CONVOLUTIONS = 4
PRIOR = 0.01
"""What an untrained network takes the chance of an object for (section 4.1 of the paper)."""


@card(
    Card(
        paper="Lin et al., Focal Loss for Dense Object Detection, ICCV 2017 (arXiv:1708.02002)",
        task="detection",
        parameters=34_068_119,
        macs=151_540_437_248,
        dataset="COCO",
        map=36.4,
        source="mAP and exact counts from torchvision's retinanet_resnet50_fpn, whose parameter names these are "
        "(34,014,999 without the batch norms, which it freezes when it starts from trained weights)",
        preprocess=Preprocess(size=(800, 800)),
    )
)
def retinanet_resnet50_fpn(
    *, classes: Count = 91, in_channels: Count = 3, width: Factor = 1.0, size: Side = 800
) -> nn.Module:
    """RetinaNet on ResNet-50 with a feature pyramid, five maps of nine anchors a place."""
    return RetinaNet(classes, in_channels, width, size)


class RetinaNet(nn.Module):
    """N x in_channels x size x size to logits N x anchors x classes and offsets N x anchors x 4.

    Class 0 is the background, as in torchvision, which nothing is ever trained to be.
    """

    def __init__(self, classes: int, in_channels: int, width: float, size: int) -> None:
        super().__init__()
        extra = _fpn.TwoMore(scaled(_fpn.CHANNELS, width))
        self.backbone = _fpn.PyramidBody(in_channels, width, 1, extra)
        channels, anchors = self.backbone.channels, len(OCTAVES) * len(RATIOS)
        scoring = MapHead(channels, "cls_logits", anchors, classes)
        moving = MapHead(channels, "bbox_reg", anchors, 4)
        self.head = nn.ModuleDict({"classification_head": scoring, "regression_head": moving})
        initialise(self)
        assert scoring.last.bias is not None
        nn.init.constant_(scoring.last.bias, -math.log((1 - PRIOR) / PRIOR))
        self.reading = Anchored(
            size=(size, size),
            levels=levels(size, _fpn.sides(size, 1, 2), [shapes(side) for side in SIZES]),
            weights=(1.0, 1.0, 1.0, 1.0),
            scoring="sigmoid",
            select=Selection(candidates=1000, most=300),
        )

    def forward(self, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        maps = self.backbone(pictures)
        return self.head["classification_head"](maps), self.head["regression_head"](maps)


class MapHead(nn.Module):
    """Four convolutions and a last one, called `name`, the same on every map, for `values` of each of its anchors."""

    def __init__(self, channels: int, name: str, anchors: int, values: int) -> None:
        super().__init__()
        self.values, self.name = values, name
        self.conv = nn.Sequential(
            *(
                nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU())
                for _ in range(CONVOLUTIONS)
            )
        )
        self.add_module(name, nn.Conv2d(channels, anchors * values, 3, padding=1))

    @property
    def last(self) -> nn.Conv2d:
        found = self.get_submodule(self.name)
        assert isinstance(found, nn.Conv2d)
        return found

    def forward(self, maps: list[torch.Tensor]) -> torch.Tensor:
        return listed([self.conv(level) for level in maps], [self.last] * len(maps), self.values)


def shapes(side: float) -> tuple[Shape, ...]:
    """torchvision's anchors: whole pixels on either side of the centre."""
    sizes = [int(side * 2**octave) for octave in OCTAVES]
    return tuple(shape(size, ratio) for ratio in RATIOS for size in sizes)


def shape(size: float, ratio: float) -> Shape:
    """(width, height) of an anchor as large as a square of `size`, rounded as torchvision does."""
    root = math.sqrt(ratio)
    return 2.0 * round(size / root / 2), 2.0 * round(size * root / 2)


def levels(size: int, sides: list[int], shapes: list[tuple[Shape, ...]]) -> tuple[Level, ...]:
    """The maps' anchors, whose centres are the places' corners; a step is a whole number of pixels."""
    return tuple(
        Level(side, side, (size // side, size // side), each, 0.0)
        for side, each in zip(sides, shapes, strict=True)
    )
