"""Faster R-CNN on a feature pyramid (Ren et al., 2015; Lin et al., 2017) and Mask R-CNN (He et al., 2017).

A fixed number of regions is proposed, cut out and classified within the exported graph; what is found among them is
read by `edgepress.detection.Regions`, outside of it.
"""

from __future__ import annotations

import torch
from torch import nn

from edgepress.detection import Regions
from edgepress.models import _fpn
from edgepress.models._card import Card, card
from edgepress.models._layers import Count, Factor, Side, initialise, scaled
from edgepress.models._proposals import WEIGHTED, Cells, Proposals, decode
from edgepress.models.retinanet import levels, shape
from edgepress.preprocess import Preprocess

SIZES, RATIOS = (32, 64, 128, 256, 512), (0.5, 1.0, 2.0)
"""Anchors: the side of the square of each map, and height by width."""
HIDDEN, MASK_CHANNELS = 1024, 256
CELLS, MASK_CELLS = 7, 14
"""Cells a side that a region is cut into, for its class and for its mask."""


@card(
    Card(
        paper="Ren et al., Faster R-CNN: Towards Real-Time Object Detection with Region Proposal Networks, NeurIPS 2015 "
        "(arXiv:1506.01497)",
        task="detection",
        parameters=41_808_406,
        macs=124_328_034_816,
        dataset="COCO",
        map=37.0,
        source="mAP and exact parameters from torchvision's fasterrcnn_resnet50_fpn, whose parameter names these are "
        "(41,755,286 without the batch norms, which it freezes when it starts from trained weights); 300 proposals as in "
        "the paper",
        preprocess=Preprocess(size=(800, 800)),
    )
)
def faster_rcnn_resnet50_fpn(
    *,
    classes: Count = 90,
    in_channels: Count = 3,
    width: Factor = 1.0,
    size: Side = 800,
    proposals: Count = 300,
) -> nn.Module:
    """Faster R-CNN on ResNet-50 with a feature pyramid."""
    return FasterRCNN(classes, in_channels, width, size, proposals)


@card(
    Card(
        paper="He et al., Mask R-CNN, ICCV 2017 (arXiv:1703.06870)",
        task="detection",
        parameters=44_454_513,
        macs=174_662_754_816,
        dataset="COCO",
        map=37.9,
        source="mAP of boxes (34.6 of masks) and exact parameters from torchvision's maskrcnn_resnet50_fpn, whose "
        "parameter names these are (44,401,393 without the batch norms, which it freezes when it starts from trained "
        "weights); 100 proposals, as many as it keeps",
        preprocess=Preprocess(size=(800, 800)),
    )
)
def mask_rcnn_resnet50_fpn(
    *,
    classes: Count = 90,
    in_channels: Count = 3,
    width: Factor = 1.0,
    size: Side = 800,
    proposals: Count = 100,
) -> nn.Module:
    """Mask R-CNN on ResNet-50 with a feature pyramid: Faster R-CNN that draws each region's most likely object."""
    return MaskRCNN(classes, in_channels, width, size, proposals)


class FasterRCNN(nn.Module):
    """N x in_channels x size x size to logits (N x proposals x (classes + 1), the background first), offsets (N x
    proposals x 4 (classes + 1)) and the proposals (N x proposals x 4, in pixels)."""

    def __init__(self, classes: int, in_channels: int, width: float, size: int, proposals: int) -> None:
        super().__init__()
        self.backbone = _fpn.PyramidBody(in_channels, width, 0, _fpn.EverySecond())
        channels, hidden = self.backbone.channels, scaled(HIDDEN, width)
        self.rpn = nn.ModuleDict({"head": ProposalHead(channels, len(RATIOS))})
        self.roi_heads = nn.ModuleDict(
            {
                "box_head": BoxHead(channels * CELLS**2, hidden),
                "box_predictor": BoxPredictor(hidden, classes + 1),
            }
        )
        initialise(self)
        sides = _fpn.sides(size, 0, 1)
        anchors = [tuple(shape(side, ratio) for ratio in RATIOS) for side in SIZES]
        self.propose = Proposals(levels(size, sides, anchors), size, proposals)
        self.cut = Cells(CELLS, sides[:4], size)
        self.reading = Regions(size=(size, size), weights=WEIGHTED)

    def forward(self, pictures: torch.Tensor) -> tuple[torch.Tensor, ...]:
        maps, regions = self._regions(pictures)
        return (*self._classified(maps, regions), regions)

    def _regions(self, pictures: torch.Tensor) -> tuple[list[torch.Tensor], torch.Tensor]:
        """The maps that regions are cut out of, and the regions."""
        maps = self.backbone(pictures)
        logits, offsets = zip(*(self.rpn["head"](level) for level in maps), strict=True)
        return maps[:4], self.propose(logits, offsets)

    def _classified(
        self, maps: list[torch.Tensor], regions: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        hidden = self.roi_heads["box_head"](self.cut(maps, regions).flatten(2))
        logits, offsets = self.roi_heads["box_predictor"](hidden)
        return logits, offsets


class MaskRCNN(FasterRCNN):
    """As FasterRCNN, and the masks (N x proposals x 28 x 28 logits) of each proposal's most likely class, over the box
    that this class moves it to."""

    def __init__(self, classes: int, in_channels: int, width: float, size: int, proposals: int) -> None:
        super().__init__(classes, in_channels, width, size, proposals)
        channels, inner = self.backbone.channels, scaled(MASK_CHANNELS, width)
        sizes = (channels, *[inner] * 4)
        layers = (
            nn.Sequential(nn.Conv2d(before, after, 3, padding=1), nn.ReLU())
            for before, after in zip(sizes, sizes[1:], strict=False)
        )
        self.roi_heads["mask_head"] = nn.Sequential(*layers)
        self.roi_heads["mask_predictor"] = MaskPredictor(inner, classes + 1)
        initialise(self)
        self.size = size
        self.cut_mask = Cells(MASK_CELLS, _fpn.sides(size, 0, 1)[:4], size)

    def forward(self, pictures: torch.Tensor) -> tuple[torch.Tensor, ...]:
        maps, regions = self._regions(pictures)
        logits, offsets = self._classified(maps, regions)
        likely = logits[:, :, 1:].argmax(dim=2, keepdim=True) + 1
        own = offsets.unflatten(2, (-1, 4))
        moved = torch.gather(own, 2, likely.unsqueeze(3).expand(-1, -1, -1, 4)).squeeze(2)
        boxes = decode(moved, regions, WEIGHTED, self.size)
        cells = self.cut_mask(maps, boxes).flatten(0, 1)
        masks = self.roi_heads["mask_predictor"](self.roi_heads["mask_head"](cells))
        per_class = masks.flatten(2).unflatten(0, (-1, regions.shape[1]))
        index = likely.unsqueeze(3).expand(-1, -1, -1, per_class.shape[3])
        side = 2 * MASK_CELLS
        drawn = torch.gather(per_class, 2, index).squeeze(2).unflatten(2, (side, side))
        return logits, offsets, regions, drawn


class ProposalHead(nn.Module):
    """What every place of a map says of its anchors: logits N x anchors, offsets N x anchors x 4."""

    def __init__(self, channels: int, anchors: int) -> None:
        super().__init__()
        filtered = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv = nn.Sequential(nn.Sequential(filtered, nn.ReLU()))
        self.cls_logits = nn.Conv2d(channels, anchors, 1)
        self.bbox_pred = nn.Conv2d(channels, 4 * anchors, 1)

    def forward(self, level: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        hidden = self.conv(level)
        logits, offsets = (
            layer(hidden).permute(0, 2, 3, 1).flatten(1) for layer in (self.cls_logits, self.bbox_pred)
        )
        return logits, offsets.unflatten(1, (-1, 4))


class BoxHead(nn.Module):
    """Two linear layers."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.fc6 = nn.Linear(inputs, hidden)
        self.fc7 = nn.Linear(hidden, hidden)
        self.relu = nn.ReLU()

    def forward(self, cells: torch.Tensor) -> torch.Tensor:
        hidden: torch.Tensor = self.relu(self.fc7(self.relu(self.fc6(cells))))
        return hidden


class BoxPredictor(nn.Module):
    def __init__(self, hidden: int, classes: int) -> None:
        super().__init__()
        self.cls_score = nn.Linear(hidden, classes)
        self.bbox_pred = nn.Linear(hidden, 4 * classes)

    def forward(self, hidden: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.cls_score(hidden), self.bbox_pred(hidden)


class MaskPredictor(nn.Module):
    """Cells twice as fine, and a mask of each class."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.conv5_mask = nn.ConvTranspose2d(channels, channels, 2, 2)
        self.relu = nn.ReLU()
        self.mask_fcn_logits = nn.Conv2d(channels, classes, 1)

    def forward(self, cells: torch.Tensor) -> torch.Tensor:
        masks: torch.Tensor = self.mask_fcn_logits(self.relu(self.conv5_mask(cells)))
        return masks
