"""AlexNet (Krizhevsky, Sutskever, Hinton, 2012), with which deep learning on ImageNet began."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import torch
from annotated_types import Ge
from torch import nn

from edgepress.models._card import Card, card
from edgepress.models._layers import Count, initialise
from edgepress.preprocess import IMAGENET

PAPER = (
    "Krizhevsky et al., ImageNet Classification with Deep Convolutional Neural Networks, NIPS 2012; one tower as in "
    "Krizhevsky, One weird trick for parallelizing convolutional neural networks, 2014 (arXiv:1404.5997)"
)
Side = Annotated[int, Ge(67)]
"""Pixels of a picture's side: a smaller one is gone before the last pooling."""
HIDDEN = 4096


@card(
    Card(
        paper=PAPER,
        parameters=61_100_840,
        macs=714_188_480,
        top1=56.52,
        source="top-1 and exact counts from torchvision, whose parameter names these are",
    )
)
def alexnet(*, classes: Count = 1000, in_channels: Count = 3, size: Side = 224) -> nn.Module:
    """AlexNet in one tower, of 2014: no groups, no normalisation, a third fewer filters in the first layers."""
    features = [
        nn.Conv2d(in_channels, 64, 11, 4, 2), nn.ReLU(), _pool(),
        nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), _pool(),
        nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(),
        nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(),
        nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(), _pool(),
    ]  # fmt: skip
    return AlexNet(features, classes, side=_pooled((size - 7) // 4 + 1))


@card(
    Card(
        paper=PAPER.partition(";")[0],
        parameters=60_965_224,
        macs=724_406_816,
        top1=57.1,
        source="top-1 and the 227 x 227 input from the authors of Caffe, who trained it again with 60,965,224 parameters; "
        "the paper has 59.3 % from one such network, over ten cuts of each picture, and 60 million parameters",
        preprocess=dataclasses.replace(IMAGENET, size=(227, 227)),
    )
)
def alexnet_grouped(*, classes: Count = 1000, in_channels: Count = 3, size: Side = 227) -> nn.Module:
    """AlexNet as published in 2012: two towers, which meet in the third layer, and local response normalisation."""
    features = [
        nn.Conv2d(in_channels, 96, 11, 4), nn.ReLU(), local_response(), _pool(),
        nn.Conv2d(96, 256, 5, padding=2, groups=2), nn.ReLU(), local_response(), _pool(),
        nn.Conv2d(256, 384, 3, padding=1), nn.ReLU(),
        nn.Conv2d(384, 384, 3, padding=1, groups=2), nn.ReLU(),
        nn.Conv2d(384, 256, 3, padding=1, groups=2), nn.ReLU(), _pool(),
    ]  # fmt: skip
    return AlexNet(features, classes, side=_pooled((size - 11) // 4 + 1))


class AlexNet(nn.Module):
    """`features` of a picture, 256 channels of `side` x `side`, to N x classes logits."""

    def __init__(self, features: list[nn.Module], classes: int, *, side: int) -> None:
        super().__init__()
        self.features = nn.Sequential(*features)
        self.classifier = nn.Sequential(
            nn.Dropout(), nn.Linear(256 * side * side, HIDDEN), nn.ReLU(),
            nn.Dropout(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU(),
            nn.Linear(HIDDEN, classes),
        )  # fmt: skip
        initialise(self)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.classifier(torch.flatten(self.features(pictures), 1))
        return logits


def local_response() -> nn.Module:
    """Each channel divided by what it and its four neighbours hold, with the constants of section 3.3 of the paper.

    PyTorch takes the mean of the five squares where the paper takes their sum, so `alpha` is five times its 1e-4.
    """
    return nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0)


def _pool() -> nn.MaxPool2d:
    return nn.MaxPool2d(3, 2)


def _pooled(side: int) -> int:
    """`side` pixels behind the three overlapping poolings; nothing else changes the size."""
    for _ in range(3):
        side = (side - 3) // 2 + 1
    return side
