"""ZFNet (Zeiler, Fergus, 2013): AlexNet with first layers as fine as deconvolution shows that they have to be."""

from __future__ import annotations

from torch import nn

from edgepress.models._card import Card, card
from edgepress.models._layers import Count
from edgepress.models.alexnet import AlexNet, Side, local_response


@card(
    Card(
        paper="Zeiler and Fergus, Visualizing and Understanding Convolutional Networks, ECCV 2014 (arXiv:1311.2901)",
        parameters=62_357_608,
        macs=1_168_032_896,
        top1=61.6,
        source="the paper, table 2: 38.4 % error of one network, over ten cuts of each picture; it contrasts feature maps "
        "where local response normalisation stands here, as in later rebuildings, with which the counts agree",
    )
)
def zfnet(*, classes: Count = 1000, in_channels: Count = 3, size: Side = 224) -> nn.Module:
    """ZFNet: 7x7 filters with a stride of 2 in place of AlexNet's 11x11 with 4, and no groups."""
    features = [
        nn.Conv2d(in_channels, 96, 7, 2, 1), nn.ReLU(), _pool(), local_response(),
        nn.Conv2d(96, 256, 5, 2), nn.ReLU(), _pool(), local_response(),
        nn.Conv2d(256, 384, 3, padding=1), nn.ReLU(),
        nn.Conv2d(384, 384, 3, padding=1), nn.ReLU(),
        nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2),
    ]  # fmt: skip
    side = (_pooled((size - 5) // 2 + 1) - 5) // 2 + 1
    return AlexNet(features, classes, side=(_pooled(side) - 3) // 2 + 1)


def _pool() -> nn.MaxPool2d:
    return nn.MaxPool2d(3, 2, ceil_mode=True)


def _pooled(side: int) -> int:
    """`side` pixels behind a pooling, whose last window may hang over the edge."""
    return side // 2
