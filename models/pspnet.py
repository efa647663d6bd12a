"""PSPNet (Zhao et al., 2017): a dilated ResNet whose features are averaged over pyramids of regions."""

from __future__ import annotations

import torch
from torch import nn

from edgepress.models import _resnet_body
from edgepress.models._card import Card, card
from edgepress.models._layers import Count, Factor, convolution, initialise
from edgepress.models._resize import resized
from edgepress.preprocess import Preprocess

BINS = (1, 2, 3, 6)


@card(
    Card(
        paper="Zhao et al., Pyramid Scene Parsing Network, CVPR 2017 (arXiv:1612.01105)",
        task="segmentation",
        parameters=46_782_550,
        macs=161_874_838_720,
        dataset="ADE20K",
        miou=41.68,
        source="mean IoU of one scale from the paper and the authors' code; neither gives counts: these are of their "
        "semseg network without the classifier that stands beside it in training",
        preprocess=Preprocess(size=(473, 473)),
    )
)
def pspnet(*, classes: Count = 150, in_channels: Count = 3, width: Factor = 1.0) -> nn.Module:
    """PSPNet on ResNet-50, dilated to 1/8 of the size."""
    return PSPNet(classes, in_channels, width)


class PSPNet(nn.Module):
    """N x in_channels x height x width to N x classes x height x width scores."""

    def __init__(self, classes: int, in_channels: int, width: float) -> None:
        super().__init__()
        self.backbone = _resnet_body.ResNetBody(
            _resnet_body.DEPTHS_50, in_channels, width, (1, 1, 2, 4), deep_stem=True
        )
        inputs = self.backbone.channels[-1]
        hidden = inputs // len(BINS)
        self.pyramid = nn.ModuleList(
            nn.Sequential(nn.AdaptiveAvgPool2d(bins), *convolution(inputs, hidden, 1)) for bins in BINS
        )
        self.classifier = nn.Sequential(
            *convolution(2 * inputs, hidden, 3), nn.Dropout2d(0.1), nn.Conv2d(hidden, classes, 1)
        )
        initialise(self)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        features = self.backbone(pictures)[-1]
        levels = [resized(level(features), features) for level in self.pyramid]
        return resized(self.classifier(torch.cat((features, *levels), dim=1)), pictures)
