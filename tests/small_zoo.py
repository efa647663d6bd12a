"""The networks of the zoo at inputs that a test can pay for, and which of them the default suite takes all the way."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from edgepress import models

SMALL = {
    "lenet5": (1, 32, 32),
    "resnet20": (3, 32, 32),
    "resnet56": (3, 32, 32),
    "mobilenet_v1": (3, 64, 64),
    "mobilenet_v2": (3, 64, 64),
    "shufflenet_v2": (3, 64, 64),
    "squeezenet1_0": (3, 64, 64),
    "squeezenet1_1": (3, 64, 64),
    "alexnet": (3, 96, 96),
    "alexnet_grouped": (3, 99, 99),
    "zfnet": (3, 96, 96),
    "nin": (3, 64, 64),
    "nin_cifar": (3, 32, 32),
    "vgg11": (3, 32, 32),
    "vgg11_bn": (3, 32, 32),
    "vgg13": (3, 32, 32),
    "vgg13_bn": (3, 32, 32),
    "vgg16": (3, 32, 32),
    "vgg16_bn": (3, 32, 32),
    "vgg19": (3, 32, 32),
    "vgg19_bn": (3, 32, 32),
    "googlenet": (3, 64, 64),
    "googlenet_lrn": (3, 64, 64),
    "inception_v3": (3, 99, 99),
    "inception_v4": (3, 99, 99),
    "resnet32": (3, 32, 32),
    "resnet44": (3, 32, 32),
    "resnet110": (3, 32, 32),
    "resnet18": (3, 64, 64),
    "resnet34": (3, 64, 64),
    "resnet50": (3, 64, 64),
    "resnet101": (3, 64, 64),
    "resnet152": (3, 64, 64),
    "resnext50_32x4d": (3, 64, 64),
    "se_resnet50": (3, 64, 64),
    "densenet121": (3, 64, 64),
    "densenet169": (3, 64, 64),
    "densenet201": (3, 64, 64),
    "xception": (3, 71, 71),
    "mobilenet_v3_large": (3, 64, 64),
    "mobilenet_v3_small": (3, 64, 64),
    "shufflenet_v1": (3, 64, 64),
    "nasnet_a_mobile": (3, 65, 65),
    "efficientnet_b0": (3, 64, 64),
}
"""A small input of each network that classifies pictures."""

CLASSIFIERS = models.names("classification")

QUICK = (
    "lenet5", "mobilenet_v1", "mobilenet_v2", "resnet20", "resnet56", "shufflenet_v2", "squeezenet1_0", "squeezenet1_1",
)  # fmt: skip
"""Captured by the default suite, in narrow forms; the others are captured by the slow tests."""


UNPUBLISHED: dict[str, tuple[dict[str, Any], ...]] = {
    "squeezenet1_1": ({"bypass": "simple"}, {"bypass": "complex"})
}
"""Forms of a network that nobody has published figures of."""


def each(names: tuple[str, ...], quick: tuple[str, ...] = QUICK) -> list[Any]:
    """`names` as parameters of a test, slow ones but for those that are `quick`."""
    return [pytest.param(name, marks=() if name in quick else pytest.mark.slow) for name in names]


def forms(names: tuple[str, ...], quick: tuple[str, ...]) -> list[Any]:
    """(name, options) of each network and of all its published variants, slow ones but for those that are `quick`."""
    found = []
    for name in names:
        variants = [dict(variant.options) for variant in models.card_of(name).variants]
        for options in ({}, *variants, *UNPUBLISHED.get(name, ())):
            marks = () if name in quick and not options else pytest.mark.slow
            text = ",".join(f"{key}={value}" for key, value in options.items())
            found.append(pytest.param(name, options, marks=marks, id=f"{name}-{text}" if text else name))
    return found


def on_meta(name: str, **options: object) -> torch.nn.Module:
    """The network without its values: built at once, whatever its size."""
    with torch.device("meta"):
        return models.find(name)(**options).eval()


def card_shape(name: str) -> tuple[int, ...]:
    """The shape of one sample that the card's figures are of."""
    (shape,) = models.card_of(name).input_shapes()
    return shape
