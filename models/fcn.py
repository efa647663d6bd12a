"""FCN (Long, Shelhamer, Darrell, 2015): VGG-16 with its classifier as convolutions, and learned upsampling."""

from __future__ import annotations

import torch
from torch import nn

from edgepress.models import _vgg_body
from edgepress.models._card import Card, card
from edgepress.models._layers import Count, Factor, initialise, scaled
from edgepress.preprocess import Preprocess

PAPER = "Long et al., Fully Convolutional Networks for Semantic Segmentation, CVPR 2015 (arXiv:1411.4038)"
CAFFE = Preprocess(
    size=(500, 500),
    scale=1.0,
    mean=(104.00699, 116.66877, 122.67892),
    std=(1.0, 1.0, 1.0),
    channel_order="BGR",
)
HIDDEN = 4096
PADDING = 100
"""Around the first convolution, so that what is left of a small picture still fills the classifier's 7 x 7."""
SOURCE = (
    "mean IU on the validation set from the paper, table 2; 134 M parameters in table 1, which leaves out the "
    "upsampling; the padding and cuts are those of the authors' Caffe models"
)


def _card(parameters: int, macs: int, miou: float) -> Card:
    return Card(
        paper=PAPER,
        task="segmentation",
        parameters=parameters,
        macs=macs,
        dataset="PASCAL VOC 2011",
        miou=miou,
        source=SOURCE,
        preprocess=CAFFE,
    )


@card(_card(136_152_917, 181_365_854_976, 59.4))
def fcn32s(
    *,
    classes: Count = 21,
    in_channels: Count = 3,
    width: Factor = 1.0,
) -> nn.Module:
    """FCN-32s: scores of 1/32 the size, upsampled at once."""
    return FCN((), classes, in_channels, width)


@card(_card(134_489_759, 181_529_034_048, 62.7))
def fcn8s(
    *,
    classes: Count = 21,
    in_channels: Count = 3,
    width: Factor = 1.0,
) -> nn.Module:
    """FCN-8s: the scores upsampled in three steps, with those of the fourth and third stages added on the way."""
    return FCN((3, 2), classes, in_channels, width)


class FCN(nn.Module):
    """N x in_channels x height x width to N x classes x height x width scores.

    `skips` are the stages, counted from 0, whose features are scored as well, the coarsest first.
    """

    def __init__(self, skips: tuple[int, ...], classes: int, in_channels: int, width: float) -> None:
        super().__init__()
        channels, hidden = _vgg_body.stage_channels(width), scaled(HIDDEN, width)
        self.skips = skips
        self.stages = nn.ModuleList()
        for inputs, outputs, depth in zip((in_channels, *channels), channels, _vgg_body.DEPTHS, strict=False):
            layers = _vgg_body.stage(inputs, outputs, depth)
            self.stages.append(nn.Sequential(*layers, nn.MaxPool2d(2, ceil_mode=True)))
        self.stages[0][0].padding = (PADDING, PADDING)  # type: ignore[index]  # a module list has no types
        self.classifier = nn.Sequential(
            nn.Conv2d(channels[-1], hidden, 7), nn.ReLU(), nn.Dropout2d(),
            nn.Conv2d(hidden, hidden, 1), nn.ReLU(), nn.Dropout2d(),
            nn.Conv2d(hidden, classes, 1),
        )  # fmt: skip
        self.scores = nn.ModuleList(nn.Conv2d(channels[skip], classes, 1) for skip in skips)
        self.upsamplings = nn.ModuleList(_upsampling(classes, 2) for _ in skips)
        self.last = _upsampling(classes, 2 ** (5 - len(skips)))
        initialise(self)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        features, found = pictures, []
        for stage in self.stages:
            features = stage(features)
            found.append(features)
        scores = self.classifier(features)
        for skip, scoring, upsampling in zip(self.skips, self.scores, self.upsamplings, strict=True):
            scores = upsampling(scores)
            scores = scores + cut(scoring(found[skip]), scores.shape[2], scores.shape[3])
        return cut(self.last(scores), pictures.shape[2], pictures.shape[3])


def cut(features: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """The middle `height` x `width` of the features."""
    top, left = (features.shape[2] - height) // 2, (features.shape[3] - width) // 2
    return features[:, :, top : top + height, left : left + width]


def _upsampling(classes: int, factor: int) -> nn.ConvTranspose2d:
    """A transposed convolution that begins as bilinear interpolation, each class by itself."""
    layer = nn.ConvTranspose2d(classes, classes, 2 * factor, factor, bias=False)
    rise = 1 - (torch.arange(2 * factor) + 0.5 - factor).abs() / factor
    with torch.no_grad():
        layer.weight.zero_()
        layer.weight[range(classes), range(classes)] = torch.outer(rise, rise).to(layer.weight.device)
    return layer
