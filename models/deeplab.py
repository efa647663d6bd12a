"""DeepLab v1, v2 and v3 (Chen et al., 2014 to 2017): dilated convolutions look far without losing resolution."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from edgepress.models import _resnet_body, _vgg_body
from edgepress.models._card import Card, card
from edgepress.models._layers import Count, Factor, convolution, initialise, scaled
from edgepress.models._resize import resized
from edgepress.models.fcn import CAFFE
from edgepress.preprocess import Preprocess

RATES_V2, RATES_V3 = (6, 12, 18, 24), (12, 24, 36)
"""Dilations of the pyramids."""
HIDDEN_V1, HIDDEN_V3 = 1024, 256
VOC = "PASCAL VOC 2012"


@card(
    Card(
        paper="Chen et al., Semantic Image Segmentation with Deep Convolutional Nets and Fully Connected CRFs, ICLR 2015 "
        "(arXiv:1412.7062)",
        task="segmentation",
        parameters=20_505_429,
        macs=50_928_085_696,
        dataset=VOC,
        miou=62.25,
        source="mean IoU of DeepLab-LargeFOV on the validation set, before the CRF, from the paper, table 1; "
        "20.5 M parameters in its table 2",
        preprocess=Preprocess(
            size=(321, 321), scale=1.0, mean=CAFFE.mean, std=CAFFE.std, channel_order="BGR"
        ),
    )
)
def deeplab_v1(*, classes: Count = 21, in_channels: Count = 3, width: Factor = 1.0) -> nn.Module:
    """DeepLab-LargeFOV: VGG-16 to 1/8 of the size, and a classifier that looks 12 pixels apart."""
    return DeepLabV1(classes, in_channels, width)


@card(
    Card(
        paper="Chen et al., DeepLab: Semantic Image Segmentation with Deep Convolutional Nets, Atrous Convolution, and "
        "Fully Connected CRFs, PAMI 2018 (arXiv:1606.00915)",
        task="segmentation",
        parameters=44_048_532,
        macs=75_295_716_544,
        dataset=VOC,
        miou=76.35,
        source="mean IoU of ResNet-101 with ASPP on the validation set, trained on COCO first, of several scales and "
        "before the CRF, from the paper, table 4; it gives no counts",
        preprocess=Preprocess(
            size=(321, 321), scale=1.0, mean=CAFFE.mean, std=CAFFE.std, channel_order="BGR"
        ),
    )
)
def deeplab_v2(*, classes: Count = 21, in_channels: Count = 3, width: Factor = 1.0) -> nn.Module:
    """DeepLab v2: ResNet-101 to 1/8 of the size, scored by the sum of four dilated convolutions."""
    return DeepLabV2(classes, in_channels, width)


@card(
    Card(
        paper="Chen et al., Rethinking Atrous Convolution for Semantic Image Segmentation, 2017 (arXiv:1706.05587)",
        task="segmentation",
        parameters=39_638_869,
        macs=168_731_205_888,
        dataset="COCO, the classes of VOC",
        miou=66.4,
        source="mean IoU and exact counts from torchvision's deeplabv3_resnet50, whose parameter names these are, "
        "without the classifier that stands beside it in training (2,365,205 parameters)",
        preprocess=Preprocess(size=(520, 520)),
    )
)
def deeplab_v3(*, classes: Count = 21, in_channels: Count = 3, width: Factor = 1.0) -> nn.Module:
    """DeepLab v3 on ResNet-50: a pyramid of dilated convolutions and the picture's mean."""
    return DeepLabV3(classes, in_channels, width)


class DeepLabV1(nn.Module):
    """N x in_channels x height x width to N x classes x height x width scores."""

    def __init__(self, classes: int, in_channels: int, width: float) -> None:
        super().__init__()
        channels, hidden = _vgg_body.stage_channels(width), scaled(HIDDEN_V1, width)
        layers: list[nn.Module] = []
        inputs = in_channels
        for number, (outputs, depth) in enumerate(zip(channels, _vgg_body.DEPTHS, strict=True)):
            layers += _vgg_body.stage(inputs, outputs, depth, dilation=2 if number == 4 else 1)
            layers.append(nn.MaxPool2d(3, 2 if number < 3 else 1, 1))
            inputs = outputs
        self.features = nn.Sequential(*layers, nn.AvgPool2d(3, 1, 1))
        self.classifier = nn.Sequential(
            nn.Conv2d(inputs, hidden, 3, padding=12, dilation=12), nn.ReLU(), nn.Dropout(),
            nn.Conv2d(hidden, hidden, 1), nn.ReLU(), nn.Dropout(),
            nn.Conv2d(hidden, classes, 1),
        )  # fmt: skip
        initialise(self)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return resized(self.classifier(self.features(pictures)), pictures)


class DeepLabV2(nn.Module):
    """N x in_channels x height x width to N x classes x height x width scores."""

    def __init__(self, classes: int, in_channels: int, width: float) -> None:
        super().__init__()
        self.backbone = _resnet_body.ResNetBody(_resnet_body.DEPTHS_101, in_channels, width, (1, 1, 2, 4))
        inputs = self.backbone.channels[-1]
        self.pyramid = nn.ModuleList(
            nn.Conv2d(inputs, classes, 3, padding=rate, dilation=rate) for rate in RATES_V2
        )
        initialise(self)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        features = self.backbone(pictures)[-1]
        first, *others = (scoring(features) for scoring in self.pyramid)
        return resized(sum(others, first), pictures)


class DeepLabV3(nn.Module):
    """N x in_channels x height x width to N x classes x height x width scores."""

    def __init__(self, classes: int, in_channels: int, width: float) -> None:
        super().__init__()
        self.backbone = _resnet_body.ResNetBody(_resnet_body.DEPTHS_50, in_channels, width, (1, 1, 2, 4))
        hidden = scaled(HIDDEN_V3, width)
        self.classifier = nn.Sequential(
            Pyramid(self.backbone.channels[-1], hidden),
            *convolution(hidden, hidden, 3),
            nn.Conv2d(hidden, classes, 1),
        )
        initialise(self)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        scores = self.classifier(self.backbone(pictures)[-1])
        return resized(scores, pictures, align_corners=False)

    def renamed_state(self, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """`state` without the classifier that torchvision trains beside this one."""
        return {name: tensor for name, tensor in state.items() if not name.startswith("aux_classifier.")}


class Pyramid(nn.Module):
    """1x1, dilated 3x3 convolutions and the mean over the picture side by side, projected to `outputs` channels."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList([nn.Sequential(*convolution(inputs, outputs, 1))])
        for rate in RATES_V3:
            filtered = nn.Conv2d(inputs, outputs, 3, padding=rate, dilation=rate, bias=False)
            self.convs.append(nn.Sequential(filtered, nn.BatchNorm2d(outputs), nn.ReLU()))
        self.convs.append(nn.Sequential(nn.AdaptiveAvgPool2d(1), *convolution(inputs, outputs, 1)))
        self.project = nn.Sequential(*convolution(len(self.convs) * outputs, outputs, 1), nn.Dropout(0.5))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        *near, mean = (branch(features) for branch in self.convs)
        whole = resized(mean, features, align_corners=False)
        projected: torch.Tensor = self.project(torch.cat((*near, whole), dim=1))
        return projected
