"""U-Net (Ronneberger, Fischer, Brox, 2015): down in five steps and up again, past what each step down has seen."""

from __future__ import annotations

import torch
from torch import nn

from edgepress.models._card import Card, card
from edgepress.models._layers import Count, Factor, initialise, scaled
from edgepress.models.fcn import cut
from edgepress.preprocess import Preprocess

CHANNELS = (64, 128, 256, 512, 1024)


@card(
    Card(
        paper="Ronneberger et al., U-Net: Convolutional Networks for Biomedical Image Segmentation, MICCAI 2015 "
        "(arXiv:1505.04597)",
        task="segmentation",
        parameters=31_030_658,
        macs=150_428_424_448,
        dataset="ISBI cell tracking 2015, PhC-U373",
        miou=92.03,
        source="mean IoU from the paper, table 2; it gives no counts: these are of its figure 1",
        preprocess=Preprocess(size=(572, 572), mean=(0.5,), std=(0.5,), channel_order="L"),
    )
)
def unet(
    *,
    classes: Count = 2,
    in_channels: Count = 1,
    width: Factor = 1.0,
    padded: bool = False,
) -> nn.Module:
    """U-Net; as in the paper its scores lack a rim of 92 pixels, unless its convolutions are `padded`."""
    return UNet(classes, in_channels, width, padded)


class UNet(nn.Module):
    """N x in_channels x height x width to N x classes x (height - 184) x (width - 184) scores (padded: the size of
    the picture, which 16 must divide then)."""

    def __init__(self, classes: int, in_channels: int, width: float, padded: bool) -> None:
        super().__init__()
        channels = [scaled(count, width) for count in CHANNELS]
        self.pool = nn.MaxPool2d(2)
        self.down = nn.ModuleList(
            _two(inputs, outputs, padded)
            for inputs, outputs in zip((in_channels, *channels), channels, strict=False)
        )
        rising = list(zip(channels[:0:-1], channels[-2::-1], strict=True))
        self.widen = nn.ModuleList(nn.ConvTranspose2d(inputs, outputs, 2, 2) for inputs, outputs in rising)
        self.up = nn.ModuleList(_two(2 * outputs, outputs, padded) for _, outputs in rising)
        self.last = nn.Conv2d(channels[0], classes, 1)
        initialise(self)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        features, passed = self.down[0](pictures), []
        for step in self.down[1:]:
            passed.append(features)
            features = step(self.pool(features))
        for widen, step in zip(self.widen, self.up, strict=True):
            features = widen(features)
            beside = cut(passed.pop(), features.shape[2], features.shape[3])
            features = step(torch.cat((beside, features), dim=1))
        scores: torch.Tensor = self.last(features)
        return scores


def _two(inputs: int, outputs: int, padded: bool) -> nn.Sequential:
    """Two 3x3 convolutions, each of which takes a rim of one pixel unless it is padded."""
    padding = 1 if padded else 0
    first, second = nn.Conv2d(inputs, outputs, 3, 1, padding), nn.Conv2d(outputs, outputs, 3, 1, padding)
    return nn.Sequential(first, nn.ReLU(), second, nn.ReLU())
