"""YOLOv2 (Redmon, Farhadi, 2016), YOLOv3 and its tiny form (2018): one look at the picture, boxes from every cell.

What the maps mean is read by `edgepress.detection.Gridded`, outside of the exported graph.
"""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Ge, MultipleOf
from torch import nn

from edgepress.detection import Gridded
from edgepress.models._card import Card, card
from edgepress.models._layers import Count, Factor, convolution, initialise, scaled
from edgepress.preprocess import Preprocess

Side = Annotated[int, Ge(64), MultipleOf(32)]
Shapes = tuple[tuple[float, float], ...]

V2 = "Redmon and Farhadi, YOLO9000: Better, Faster, Stronger, CVPR 2017 (arXiv:1612.08242)"
V3 = "Redmon and Farhadi, YOLOv3: An Incremental Improvement, 2018 (arXiv:1804.02767)"
PLAIN = Preprocess(size=(416, 416), mean=(0.0,), std=(1.0,))
CELL = 32
"""Pixels of a cell of the coarsest map."""

SHAPES_V2: Shapes = (
    (0.57273, 0.677385),
    (1.87446, 2.06253),
    (3.33843, 5.47434),
    (7.88282, 3.52778),
    (9.77052, 9.16828),
)
"""In cells; the authors' for COCO."""
SHAPES_V3: tuple[Shapes, ...] = (
    ((116, 90), (156, 198), (373, 326)),
    ((30, 61), (62, 45), (59, 119)),
    ((10, 13), (16, 30), (33, 23)),
)
SHAPES_TINY: tuple[Shapes, ...] = (((81, 82), (135, 169), (344, 319)), ((10, 14), (23, 27), (37, 58)))
"""In pixels, of each map, the coarsest first."""

POOL = 0
DARKNET19 = (
    (32, 3), POOL, (64, 3), POOL, (128, 3), (64, 1), (128, 3), POOL, (256, 3), (128, 1), (256, 3), POOL,
    (512, 3), (256, 1), (512, 3), (256, 1), (512, 3),
)  # fmt: skip
"""(channels, kernel) of the convolutions up to the map that is passed by, table 6 of the paper, and the rest of it."""
DARKNET19_END = (POOL, (1024, 3), (512, 1), (1024, 3), (512, 1), (1024, 3))
DARKNET53 = ((64, 1), (128, 2), (256, 8), (512, 8), (1024, 4))
"""(channels, residual blocks) of the stages, each of which begins with a halving: table 1 of the paper."""


def _card(paper: str, parameters: int, macs: int, percent: float, source: str) -> Card:
    return Card(
        paper=paper,
        task="detection",
        parameters=parameters,
        macs=macs,
        dataset="COCO test-dev, at an overlap of 0.5",
        map=percent,
        source=source,
        preprocess=PLAIN,
    )


@card(
    _card(
        V2,
        50_962_889,
        14_732_084_224,
        44.0,
        "mAP at 544 x 544 from the paper, table 5, and 62.94 billion operations at 608 x 608 from the authors' page; "
        "their yolov2.weights hold 50,983,561 numbers, running statistics included",
    )
)
def yolov2(
    *, classes: Count = 80, in_channels: Count = 3, width: Factor = 1.0, size: Side = 416
) -> nn.Module:
    """YOLOv2 on Darknet-19, one map of 1/32 the size."""
    return YOLOv2(classes, in_channels, width, size)


@card(
    _card(
        V3,
        61_949_149,
        32_932_037_632,
        55.3,
        "mAP and 65.86 billion operations from the authors' page; their yolov3.weights hold 62,001,757 numbers, running "
        "statistics included",
    )
)
def yolov3(
    *, classes: Count = 80, in_channels: Count = 3, width: Factor = 1.0, size: Side = 416
) -> nn.Module:
    """YOLOv3 on Darknet-53, three maps of 1/32, 1/16 and 1/8 the size."""
    return YOLOv3(classes, in_channels, width, size)


@card(
    _card(
        V3,
        8_852_366,
        2_782_480_896,
        33.1,
        "mAP and 5.56 billion operations from the authors' page; their yolov3-tiny.weights hold 8,858,734 numbers, "
        "running statistics included",
    )
)
def yolov3_tiny(
    *, classes: Count = 80, in_channels: Count = 3, width: Factor = 1.0, size: Side = 416
) -> nn.Module:
    """YOLOv3-tiny: seven convolutions and six halvings' worth of pooling, two maps."""
    return YOLOv3Tiny(classes, in_channels, width, size)


class YOLOv2(nn.Module):
    """N x in_channels x size x size to N x 5 (5 + classes) x size / 32 x size / 32."""

    def __init__(self, classes: int, in_channels: int, width: float, size: int) -> None:
        super().__init__()
        self.reading = Gridded(
            size=(size, size),
            shapes=(tuple((CELL * across, CELL * down) for across, down in SHAPES_V2),),
            scoring="softmax",
        )
        passed, last = scaled(512, width), scaled(1024, width)
        self.fine = _sequence(DARKNET19, in_channels, width)
        self.coarse = _sequence((*DARKNET19_END, (1024, 3), (1024, 3)), passed, width)
        narrow = scaled(64, width)
        self.narrow = _convolution(passed, narrow, 1)
        self.aside = nn.PixelUnshuffle(2)
        self.joined = _convolution(last + 4 * narrow, last, 3)
        self.last = nn.Conv2d(last, len(SHAPES_V2) * (5 + classes), 1)
        initialise(self)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        fine = self.fine(pictures)
        both = torch.cat((self.aside(self.narrow(fine)), self.coarse(fine)), dim=1)
        cells: torch.Tensor = self.last(self.joined(both))
        return cells


class YOLOv3(nn.Module):
    """N x in_channels x size x size to three maps N x 3 (5 + classes) x side x side, the coarsest first."""

    def __init__(self, classes: int, in_channels: int, width: float, size: int) -> None:
        super().__init__()
        self.reading = Gridded(size=(size, size), shapes=SHAPES_V3)
        inputs = scaled(32, width)
        self.stem = _convolution(in_channels, inputs, 3)
        self.stages = nn.ModuleList()
        for base, depth in DARKNET53:
            outputs = scaled(base, width)
            blocks = (Residual(outputs) for _ in range(depth))
            self.stages.append(nn.Sequential(_convolution(inputs, outputs, 3, 2), *blocks))
            inputs = outputs
        self.necks, self.heads, self.rises = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for number, base in enumerate((512, 256, 128)):
            channels = scaled(base, width)
            self.necks.append(_sequence(((base, 1), (2 * base, 3)) * 2 + ((base, 1),), inputs, width))
            last = nn.Conv2d(scaled(2 * base, width), 3 * (5 + classes), 1)
            self.heads.append(nn.Sequential(_convolution(channels, scaled(2 * base, width), 3), last))
            if number < 2:
                risen = scaled(base // 2, width)
                self.rises.append(
                    nn.Sequential(_convolution(channels, risen, 1), nn.Upsample(scale_factor=2))
                )
                inputs = risen + scaled(base, width)
        initialise(self)

    def forward(self, pictures: torch.Tensor) -> tuple[torch.Tensor, ...]:
        features, found = self.stem(pictures), []
        for stage in self.stages:
            features = stage(features)
            found.append(features)
        features = self.necks[0](found.pop())
        maps = [self.heads[0](features)]
        for rise, neck, head in zip(self.rises, self.necks[1:], self.heads[1:], strict=True):
            features = neck(torch.cat((rise(features), found.pop()), dim=1))
            maps.append(head(features))
        return tuple(maps)


class YOLOv3Tiny(nn.Module):
    """N x in_channels x size x size to two maps N x 3 (5 + classes) x side x side, the coarser first."""

    def __init__(self, classes: int, in_channels: int, width: float, size: int) -> None:
        super().__init__()
        self.reading = Gridded(size=(size, size), shapes=SHAPES_TINY)
        halving = [entry for base in (16, 32, 64, 128) for entry in ((base, 3), POOL)]
        self.fine = _sequence((*halving, (256, 3)), in_channels, width)
        self.coarse = _sequence((POOL, (512, 3)), scaled(256, width), width)
        self.neck = _sequence(((1024, 3), (256, 1)), scaled(512, width), width)
        middle, risen = scaled(256, width), scaled(128, width)
        outputs = 3 * (5 + classes)
        wide = scaled(512, width)
        self.coarse_head = nn.Sequential(_convolution(middle, wide, 3), nn.Conv2d(wide, outputs, 1))
        self.rise = nn.Sequential(_convolution(middle, risen, 1), nn.Upsample(scale_factor=2))
        self.fine_head = nn.Sequential(
            _convolution(risen + scaled(256, width), middle, 3), nn.Conv2d(middle, outputs, 1)
        )
        initialise(self)

    def forward(self, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        fine = self.fine(pictures)
        # A window of 2 x 2 at every place, which ends with the picture.
        pooled = nn.functional.max_pool2d(self.coarse(fine), 2, 1, 1)[:, :, 1:, 1:]
        neck = self.neck(pooled)
        return self.coarse_head(neck), self.fine_head(torch.cat((self.rise(neck), fine), dim=1))


class Residual(nn.Module):
    """1x1 to half of the channels, 3x3 back to all, added to the input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = max(channels // 2, 1)
        self.filters = nn.Sequential(_convolution(channels, half, 1), _convolution(half, channels, 3))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        filtered: torch.Tensor = self.filters(features)
        return features + filtered


def _leaky() -> nn.Module:
    return nn.LeakyReLU(0.1)


def _convolution(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(*convolution(inputs, outputs, kernel, stride=stride, activation=_leaky))


def _sequence(layers: tuple[tuple[int, int] | int, ...], inputs: int, width: float) -> nn.Sequential:
    """Convolutions (channels, kernel) and halvings (POOL)."""
    made: list[nn.Module] = []
    for layer in layers:
        if isinstance(layer, int):
            made.append(nn.MaxPool2d(2))
        else:
            outputs = scaled(layer[0], width)
            made.append(_convolution(inputs, outputs, layer[1]))
            inputs = outputs
    return nn.Sequential(*made)
