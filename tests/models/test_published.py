"""The counts on the cards against the figures that others have published, as they print them."""

from __future__ import annotations

import re
from typing import Any

import pytest
from small_zoo import CLASSIFIERS

from edgepress import models

TORCHVISION = [
    # num_params and GFLOPS (multiply-adds) of torchvision's documentation
    ("mobilenet_v2", {}, "3,504,872", "0.30 G"),
    ("resnet18", {}, "11,689,512", "1.81 G"),
    ("resnet34", {}, "21,797,672", "3.66 G"),
    ("resnet50", {}, "25,557,032", "4.09 G"),
    ("resnet101", {}, "44,549,160", "7.80 G"),
    ("resnet152", {}, "60,192,808", "11.51 G"),
    ("resnext50_32x4d", {}, "25,028,904", "4.23 G"),
    ("shufflenet_v2", {"width": 0.5}, "1,366,792", "0.04 G"),
    ("shufflenet_v2", {}, "2,278,604", "0.14 G"),
    ("shufflenet_v2", {"width": 1.5}, "3,503,624", "0.30 G"),
    ("shufflenet_v2", {"width": 2.0}, "7,393,996", "0.58 G"),
    ("squeezenet1_0", {}, "1,248,424", "0.82 G"),
    ("squeezenet1_1", {}, "1,235,496", "0.35 G"),
    ("vgg11", {}, "132,863,336", "7.61 G"),
    ("vgg11_bn", {}, "132,868,840", "7.61 G"),
    ("vgg13", {}, "133,047,848", "11.31 G"),
    ("vgg13_bn", {}, "133,053,736", "11.31 G"),
    ("vgg16", {}, "138,357,544", "15.47 G"),
    ("vgg16_bn", {}, "138,365,992", "15.47 G"),
    ("vgg19", {}, "143,667,240", "19.63 G"),
    ("vgg19_bn", {}, "143,678,248", "19.63 G"),
]
PAPERS = [
    # Hu et al. (2018), table 2; the parameters of the authors' released model
    ("se_resnet50", {}, "28,088,024", "3.87 G"),
    # Howard et al. (2017), table 6
    ("mobilenet_v1", {}, "4.2 M", "569 M"),
    ("mobilenet_v1", {"width": 0.75}, "2.6 M", "325 M"),
    ("mobilenet_v1", {"width": 0.5}, "1.3 M", "149 M"),
    ("mobilenet_v1", {"width": 0.25}, "0.5 M", "41 M"),
    # torchvision's counts; multiply-adds from the authors' table of checkpoints, which has up to 1 % fewer parameters
    ("mobilenet_v2", {"width": 0.5}, "1,968,680", "97 M"),
    ("mobilenet_v2", {"width": 0.75}, "2,636,424", "209 M"),
    ("mobilenet_v2", {"width": 1.4}, "6,108,776", "582 M"),
]
UNPUBLISHED = ("lenet5", "resnet20", "resnet56")
"""Whose cards count another form than the paper's, and say so."""
WITHIN = 0.01
"""How far a count may be from a published one, where that is not exact and its rounding allows no more."""


def agrees(count: int, printed: str) -> bool:
    """Whether `count` is what is printed: to the last digit where all are, otherwise but for rounding, or 1 %."""
    if re.fullmatch(r"[\d,]+", printed):
        return count == int(printed.replace(",", ""))
    number, unit = printed.split()
    factor = {"M": 1e6, "G": 1e9}[unit]
    half_a_digit = 0.5 * 10 ** -len(number.partition(".")[2]) * factor
    return abs(count - float(number) * factor) <= max(half_a_digit, WITHIN * count)


@pytest.mark.parametrize(("name", "options", "parameters", "macs"), [*TORCHVISION, *PAPERS])
def test_counts_are_the_published_ones(
    name: str, options: dict[str, Any], parameters: str, macs: str
) -> None:
    card = models.card_of(name)
    forms = (card, *card.variants) if options else (card,)
    (found,) = (form for form in forms if getattr(form, "options", {}) == options)
    assert agrees(found.parameters, parameters)
    assert agrees(found.macs, macs)


def test_every_network_has_a_published_count() -> None:
    listed = {(name, str(options)) for name, options, _, _ in (*TORCHVISION, *PAPERS)}
    forms = {
        (name, str(variant.options)) for name in CLASSIFIERS for variant in models.card_of(name).variants
    }
    assert listed == forms | {(name, "{}") for name in CLASSIFIERS if name not in UNPUBLISHED}


@pytest.mark.parametrize(
    ("count", "printed", "outcome"),
    [
        (25_557_032, "25,557,032", True),
        (25_557_031, "25,557,032", False),
        (4_131_000_000, "4.09 G", True),
        (4_140_000_000, "4.09 G", False),
        (44_000_000, "0.04 G", True),
        (46_000_000, "0.04 G", False),
    ],
)
def test_what_agrees(count: int, printed: str, outcome: bool) -> None:
    assert agrees(count, printed) is outcome
