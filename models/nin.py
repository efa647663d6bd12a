"""Network in Network (Lin, Chen, Yan, 2013): 1x1 convolutions behind each convolution, and averages in place of a classifier."""

from __future__ import annotations

import torch
from torch import nn

from edgepress.models._card import Card, card
from edgepress.models._layers import Count, initialise
from edgepress.models.resnet_cifar import CIFAR10

PAPER = "Lin et al., Network In Network, ICLR 2014 (arXiv:1312.4400)"


@card(
    Card(
        paper=PAPER,
        parameters=7_595_176,
        macs=1_100_188_800,
        top1=59.36,
        source="the first author's model for Caffe, of 29 MB; the paper itself has none for ImageNet",
    )
)
def nin(*, classes: Count = 1000, in_channels: Count = 3) -> nn.Module:
    """Network in Network for ImageNet: four convolutions, each with two 1x1 convolutions behind it."""
    return NetworkInNetwork(
        *_block(nn.Conv2d(in_channels, 96, 11, 4), 96, 96), _pool(),
        *_block(nn.Conv2d(96, 256, 5, padding=2), 256, 256), _pool(),
        *_block(nn.Conv2d(256, 384, 3, padding=1), 384, 384), _pool(), nn.Dropout(),
        *_block(nn.Conv2d(384, 1024, 3, padding=1), 1024, classes),
    )  # fmt: skip


@card(
    Card(
        paper=PAPER,
        parameters=966_986,
        macs=222_486_528,
        dataset="CIFAR-10",
        top1=89.59,
        source="the paper, table 1: 10.41 % error without augmentation; the layers as in the first author's configuration",
        preprocess=CIFAR10,
    )
)
def nin_cifar(*, classes: Count = 10, in_channels: Count = 3) -> nn.Module:
    """Network in Network for CIFAR: three convolutions, each with two 1x1 convolutions behind it."""
    return NetworkInNetwork(
        *_block(nn.Conv2d(in_channels, 192, 5, padding=2), 160, 96), _pool(), nn.Dropout(),
        *_block(nn.Conv2d(96, 192, 5, padding=2), 192, 192), nn.AvgPool2d(3, 2, ceil_mode=True), nn.Dropout(),
        *_block(nn.Conv2d(192, 192, 3, padding=1), 192, classes),
    )  # fmt: skip


class NetworkInNetwork(nn.Module):
    """N x in_channels x height x width to N x classes logits: the averages of the last layer's maps."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        initialise(self)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return torch.flatten(self.avgpool(self.features(pictures)), 1)


def _block(convolution: nn.Conv2d, *outputs: int) -> list[nn.Module]:
    """The convolution and 1x1 convolutions to so many `outputs`, each rectified: a perceptron that is slid."""
    layers: list[nn.Module] = [convolution, nn.ReLU()]
    inputs = convolution.out_channels
    for channels in outputs:
        layers += [nn.Conv2d(inputs, channels, 1), nn.ReLU()]
        inputs = channels
    return layers


def _pool() -> nn.MaxPool2d:
    return nn.MaxPool2d(3, 2, ceil_mode=True)
