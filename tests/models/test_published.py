"""The counts on the cards against the figures that others have published, as they print them."""

from __future__ import annotations

import re
from typing import Any

import pytest
from small_zoo import CLASSIFIERS

from edgepress import models

UNKNOWN = ""
TORCHVISION = [
    # num_params and GFLOPS (multiply-adds) of torchvision's documentation
    ("alexnet", {}, "61,100,840", "0.71 G"),
    ("densenet121", {}, "7,978,856", "2.83 G"),
    ("densenet169", {}, "14,149,480", "3.36 G"),
    ("densenet201", {}, "20,013,928", "4.29 G"),
    ("efficientnet_b0", {}, "5,288,548", "0.39 G"),
    ("googlenet", {}, "6,624,904", "1.50 G"),
    ("mobilenet_v2", {}, "3,504,872", "0.30 G"),
    ("mobilenet_v3_large", {}, "5,483,032", "0.22 G"),
    ("mobilenet_v3_small", {}, "2,542,856", "0.06 G"),
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
    # Krizhevsky et al. (2012) as in Caffe's bvlc_alexnet; multiply-adds as Sze et al. (2017) count them, table 2
    ("alexnet_grouped", {}, "60,965,224", "724 M"),
    # rebuilt for Gluon and PyTorch in O. Semery's imgclsmob, which counts rectifiers and normalisation in addition
    ("zfnet", {}, "62,357,608", "1,170 M"),
    ("nin_cifar", {}, "966,986", "223 M"),
    # the first author's model for Caffe; multiply-adds as Netscope counts them
    ("nin", {}, "7,595,176", "1.1 G"),
    # Caffe's bvlc_googlenet without its auxiliary classifiers; multiply-adds as Netscope counts them
    ("googlenet_lrn", {}, "6,998,552", "1.6 G"),
    # torchvision's network without its auxiliary classifier; GFLOPS of its documentation
    ("inception_v3", {}, "23,834,568", "5.71 G"),
    # R. Wightman's pytorch-image-models
    ("inception_v4", {}, "42,679,816", "12.28 G"),
    ("mobilenet_v3_small", {"width": 0.75}, "2.04 M", "0.04 G"),
    # Chollet (2017), table 3; multiply-adds of pytorch-image-models
    ("xception", {}, "22,855,952", "8.4 G"),
    # Zoph et al. (2018), table 3; parameters of the released network
    ("nasnet_a_mobile", {}, "5,289,978", "564 M"),
    # Howard et al. (2019), table 3
    ("mobilenet_v3_large", {"width": 0.75}, "4.0 M", "155 M"),
    # Iandola et al. (2016): simple bypass costs nothing; of complex bypass no count is published that its figure 2 comes to
    ("squeezenet1_0", {"bypass": "simple"}, "1,248,424", "0.82 G"),
    # He et al. (2015), table 6; multiply-adds as He et al. (2019, FPGM), table 1, print them
    ("resnet20", {"shortcut": "padding"}, "0.27 M", "40.6 M"),
    ("resnet32", {"shortcut": "padding"}, "0.46 M", "68.9 M"),
    ("resnet44", {"shortcut": "padding"}, "0.66 M", UNKNOWN),
    ("resnet56", {"shortcut": "padding"}, "0.85 M", "125 M"),
    ("resnet110", {"shortcut": "padding"}, "1.7 M", "252 M"),
    # Zhang et al. (2018), table 2
    ("shufflenet_v1", {"groups": 1}, UNKNOWN, "143 M"),
    ("shufflenet_v1", {"groups": 2}, UNKNOWN, "140 M"),
    ("shufflenet_v1", {"groups": 4}, UNKNOWN, "133 M"),
    ("shufflenet_v1", {"width": 0.25}, UNKNOWN, "13 M"),
    # the authors' code
    ("shufflenet_v1", {"width": 0.5}, "0.7 M", "38 M"),
    ("shufflenet_v1", {}, "1.9 M", "138 M"),
    ("shufflenet_v1", {"width": 1.5}, "3.4 M", "292 M"),
    ("shufflenet_v1", {"width": 2.0}, "5.4 M", "524 M"),
    ("shufflenet_v1", {"groups": 8, "width": 0.5}, "1.0 M", "40 M"),
    ("shufflenet_v1", {"groups": 8}, "2.4 M", "138 M"),
    ("shufflenet_v1", {"groups": 8, "width": 1.5}, "4.3 M", "290 M"),
    ("shufflenet_v1", {"groups": 8, "width": 2.0}, "6.5 M", "522 M"),
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
WITHIN = 0.01
"""How far a count may be from a published one, where that is not exact and its rounding allows no more."""


def agrees(count: int, printed: str) -> bool:
    """Whether `count` is what is printed: to the last digit where all are, otherwise but for rounding, or 1 %."""
    if printed == UNKNOWN:
        return True
    if re.fullmatch(r"[\d,]+", printed):
        return count == int(printed.replace(",", ""))
    number, unit = printed.replace(",", "").split()
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
    """LeNet-5 alone has none: what the paper counts has hand-made connections, as its card says."""
    assert {name for name, *_ in (*TORCHVISION, *PAPERS)} == set(CLASSIFIERS) - {"lenet5"}


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
