"""SegNet (Badrinarayanan, Kendall, Cipolla, 2015): VGG-16 and its mirror, which puts values back to where they were
the largest."""

from __future__ import annotations

import torch
from torch import nn

from edgepress.models import _vgg_body
from edgepress.models._card import Card, card
from edgepress.models._layers import Count, Factor, initialise
from edgepress.preprocess import Preprocess

ORDER = ((4.0, 3.0), (2.0, 1.0))
"""Which of equal values counts as the largest of a 2 x 2 window: the first, row by row."""


@card(
    Card(
        paper="Badrinarayanan et al., SegNet: A Deep Convolutional Encoder-Decoder Architecture for Image "
        "Segmentation, PAMI 2017 (arXiv:1511.00561)",
        task="segmentation",
        parameters=29_449_355,
        macs=106_712_432_640,
        dataset="CamVid",
        miou=60.1,
        source="mean IoU from the paper, its best on 11 classes; Paszke et al. (2016, arXiv:1606.02147) count 29.46 M "
        "parameters and, at 640 x 360, 286.03 billion operations",
        preprocess=Preprocess(size=(360, 480)),
    )
)
def segnet(
    *,
    classes: Count = 11,
    in_channels: Count = 3,
    width: Factor = 1.0,
) -> nn.Module:
    """SegNet with all thirteen convolutions of VGG-16 on either side."""
    return SegNet(classes, in_channels, width)


class SegNet(nn.Module):
    """N x in_channels x height x width to N x classes x height x width scores."""

    def __init__(self, classes: int, in_channels: int, width: float) -> None:
        super().__init__()
        channels = _vgg_body.stage_channels(width)
        inputs = (in_channels, *channels)
        self.encoder, self.decoder = nn.ModuleList(), nn.ModuleList()
        for number, depth in enumerate(_vgg_body.DEPTHS):
            layers = _vgg_body.stage(inputs[number], channels[number], depth, batch_norm=True)
            self.encoder.append(nn.Sequential(*layers))
        for number in reversed(range(1, 5)):
            layers = _vgg_body.stage(
                channels[number], channels[number], _vgg_body.DEPTHS[number] - 1, batch_norm=True
            )
            layers += _vgg_body.stage(channels[number], channels[number - 1], 1, batch_norm=True)
            self.decoder.append(nn.Sequential(*layers))
        self.decoder.append(nn.Sequential(*_vgg_body.stage(channels[0], channels[0], 1, batch_norm=True)))
        self.pool = nn.MaxPool2d(2, ceil_mode=True)
        self.last = nn.Conv2d(channels[0], classes, 3, padding=1)
        initialise(self)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        features, found = pictures, []
        for step in self.encoder:
            features = step(features)
            pooled = self.pool(features)
            found.append(largest(features, pooled))
            features = pooled
        for step in self.decoder:
            features = step(unpooled(features, found.pop()))
        scores: torch.Tensor = self.last(features)
        return scores


def largest(features: torch.Tensor, pooled: torch.Tensor) -> torch.Tensor:
    """1 at the value of each 2 x 2 window that is the largest (the first of equal ones), 0 at the others.

    What the indices of a pooling layer say, in operators that every format has.
    """
    height, width = features.shape[2:]
    is_largest = (features == _doubled(pooled, height, width)).to(features.dtype)
    order = torch.tensor(ORDER).repeat(-(-height // 2), -(-width // 2))[:height, :width]
    rank = is_largest * order
    first = _doubled(nn.functional.max_pool2d(rank, 2, ceil_mode=True), height, width)
    return (rank == first).to(features.dtype)


def unpooled(features: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
    """Every value at the place of its 2 x 2 window that `where` has a 1 at, among zeros."""
    return _doubled(features, where.shape[2], where.shape[3]) * where


def _doubled(features: torch.Tensor, height: int, width: int) -> torch.Tensor:
    return nn.functional.interpolate(features, scale_factor=2.0)[:, :, :height, :width]
