"""R-FCN (Dai et al., 2016): regions classified by convolutions alone, whose maps each look at one part of a region.

What is found among its fixed number of regions is read by `edgepress.detection.Regions`, outside of the exported graph.
"""

from __future__ import annotations

import torch
from torch import nn

from edgepress.detection import Level, Regions
from edgepress.models import _resnet_body
from edgepress.models._card import Card, card
from edgepress.models._layers import Count, Factor, Side, initialise, scaled
from edgepress.models._proposals import WEIGHTED, Parts, Proposals
from edgepress.models.faster_rcnn import ProposalHead
from edgepress.models.retinanet import shape
from edgepress.preprocess import Preprocess

SIZES, RATIOS = (128, 256, 512), (0.5, 1.0, 2.0)
STEP = 16
"""Pixels between the places that regions are proposed from."""
NARROWED, PROPOSING = 1024, 512
PARTS = 7
"""Parts a side of a region, each of which has maps of its own."""


@card(
    Card(
        paper="Dai et al., R-FCN: Object Detection via Region-based Fully Convolutional Networks, NeurIPS 2016 "
        "(arXiv:1605.06409)",
        task="detection",
        parameters=48_761_654,
        macs=82_111_985_664,
        dataset="PASCAL VOC 2007",
        map=79.5,
        source="mAP of ResNet-101 trained at one scale from the paper; it gives no counts. A part is the mean of "
        "four interpolated points, where the authors' is that of all places in it",
        preprocess=Preprocess(size=(608, 608)),
    )
)
def rfcn_resnet101(
    *,
    classes: Count = 20,
    in_channels: Count = 3,
    width: Factor = 1.0,
    size: Side = 608,
    proposals: Count = 300,
) -> nn.Module:
    """R-FCN on ResNet-101, dilated to 1/16 of the size."""
    return RFCN(classes, in_channels, width, size, proposals)


class RFCN(nn.Module):
    """N x in_channels x size x size to logits (N x proposals x (classes + 1), the background first), offsets (N x
    proposals x 4) and the proposals (N x proposals x 4, in pixels)."""

    def __init__(self, classes: int, in_channels: int, width: float, size: int, proposals: int) -> None:
        super().__init__()
        self.backbone = _resnet_body.ResNetBody(_resnet_body.DEPTHS_101, in_channels, width, (1, 1, 1, 2))
        _, _, proposing, last = self.backbone.channels
        narrowed, hidden = scaled(NARROWED, width), scaled(PROPOSING, width)
        self.proposing = nn.Sequential(nn.Conv2d(proposing, hidden, 1), nn.ReLU())
        self.proposal_head = ProposalHead(hidden, len(SIZES) * len(RATIOS))
        self.narrow = nn.Sequential(nn.Conv2d(last, narrowed, 1), nn.ReLU())
        self.logits = nn.Conv2d(narrowed, PARTS**2 * (classes + 1), 1)
        self.offsets = nn.Conv2d(narrowed, PARTS**2 * 4, 1)
        initialise(self)
        side = -(-size // STEP)
        shapes = tuple(shape(base, ratio) for ratio in RATIOS for base in SIZES)
        self.propose = Proposals([Level(side, side, (STEP, STEP), shapes)], size, proposals)
        self.part_means = Parts(PARTS, side, size)
        self.reading = Regions(size=(size, size), weights=WEIGHTED, measure="voc11")

    def forward(self, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        _, _, fine, coarse = self.backbone(pictures)
        logits, offsets = self.proposal_head(self.proposing(fine))
        regions = self.propose([logits], [offsets])
        narrowed = self.narrow(coarse)
        return (
            self.part_means(self.logits(narrowed), regions),
            self.part_means(self.offsets(narrowed), regions),
            regions,
        )
