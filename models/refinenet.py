"""RefineNet (Lin et al., 2017): a ResNet's four resolutions, each refined by the coarser one before it."""

from __future__ import annotations

import torch
from torch import nn

from edgepress.models import _resnet_body
from edgepress.models._card import Card, card
from edgepress.models._layers import Count, Factor, initialise, scaled
from edgepress.models._resize import resized
from edgepress.preprocess import Preprocess

CHANNELS = (256, 256, 256, 512)
"""Of the refined features, the finest first."""
POOLS = 4
"""Links of the authors' chain of pooling."""


@card(
    Card(
        paper="Lin et al., RefineNet: Multi-Path Refinement Networks for High-Resolution Semantic Segmentation, "
        "CVPR 2017 (arXiv:1611.06612)",
        task="segmentation",
        parameters=118_096_232,
        macs=263_616_200_704,
        dataset="NYUDv2",
        source="the paper gives no counts: Nekrasov et al. (2018, arXiv:1810.03272) count 118 M parameters and 263 G "
        "multiply-adds at 512 x 512. Mean IoU of the paper: 46.5 % on this set with ResNet-152, 40.2 % on ADE20K with "
        "ResNet-101",
        preprocess=Preprocess(size=(512, 512)),
    )
)
def refinenet(*, classes: Count = 40, in_channels: Count = 3, width: Factor = 1.0) -> nn.Module:
    """RefineNet on ResNet-101, four cascaded blocks."""
    return RefineNet(classes, in_channels, width)


class RefineNet(nn.Module):
    """N x in_channels x height x width to N x classes x height x width scores."""

    def __init__(self, classes: int, in_channels: int, width: float) -> None:
        super().__init__()
        self.backbone = _resnet_body.ResNetBody(_resnet_body.DEPTHS_101, in_channels, width)
        channels = [scaled(count, width) for count in CHANNELS]
        self.reductions = nn.ModuleList(
            nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
            for inputs, outputs in zip(self.backbone.channels, channels, strict=True)
        )
        self.dropout = nn.Dropout(0.5)
        coarser = (*channels[1:], None)
        self.blocks = nn.ModuleList(
            RefineBlock(own, above) for own, above in zip(channels, coarser, strict=True)
        )
        self.last = nn.Conv2d(channels[0], classes, 3, padding=1)
        initialise(self)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        found = self.backbone(pictures)
        found[-2:] = [self.dropout(features) for features in found[-2:]]
        levels = zip(reversed(self.reductions), reversed(self.blocks), reversed(found), strict=True)
        refined = None
        for reduction, block, features in levels:
            refined = block(reduction(features), refined)
        return resized(self.last(self.dropout(refined)), pictures)


class RefineBlock(nn.Module):
    """Own features adapted, joined with the `coarser` ones where there are any, pooled in a chain, and smoothed."""

    def __init__(self, channels: int, coarser: int | None) -> None:
        super().__init__()
        self.adapt = nn.Sequential(ResidualUnit(channels), ResidualUnit(channels))
        self.fuse, self.fuse_coarser = nn.Sequential(), nn.Sequential()
        if coarser is not None:
            self.fuse = nn.Sequential(_filter(channels, channels))
            self.fuse_coarser = nn.Sequential(_filter(coarser, channels))
        self.relu = nn.ReLU()
        self.pool = nn.MaxPool2d(5, 1, 2)
        self.chain = nn.ModuleList(_filter(channels, channels) for _ in range(POOLS))
        self.smooth = nn.Sequential(*(ResidualUnit(channels) for _ in range(3)))

    def forward(self, features: torch.Tensor, coarser: torch.Tensor | None) -> torch.Tensor:
        features = self.fuse(self.adapt(features))
        if coarser is not None:
            features = features + resized(self.fuse_coarser(coarser), features)
        features = path = self.relu(features)
        for filtering in self.chain:
            path = filtering(self.pool(path))
            features = features + path
        smoothed: torch.Tensor = self.smooth(features)
        return smoothed


class ResidualUnit(nn.Module):
    """Two 3x3 convolutions, each behind a rectifier, beside a shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.relu = nn.ReLU()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        residual: torch.Tensor = self.conv2(self.relu(self.conv1(self.relu(features))))
        return features + residual


def _filter(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
