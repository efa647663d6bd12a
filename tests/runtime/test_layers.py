"""Which layers of two executors belong together, and what is said of the first that departs."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgepress.layer_output import LayerOutput
from edgepress.runtime import LayerReport, compare_layers

FLOAT = ("float32", "float32")
RANDOM = np.random.default_rng(0)
IMAGES = [RANDOM.standard_normal((2, 4, 5, 5)).astype(np.float32) for _ in range(6)]


def outputs(*layers: tuple[str, np.ndarray]) -> list[LayerOutput]:
    return [LayerOutput(name, "op", value) for name, value in layers]


def sqnr(report: LayerReport) -> dict[str, float]:
    return {layer.layer: layer.sqnr_db for layer in report.layers}


def test_what_was_folded_into_a_layer_is_compared_with_what_stands_behind_it() -> None:
    reference = outputs(("conv", IMAGES[0]), ("norm", IMAGES[1]), ("relu", IMAGES[2]), ("last", IMAGES[3]))
    folded = outputs(("conv", IMAGES[2]), ("last", IMAGES[3]))
    for report in (compare_layers(reference, folded, FLOAT), compare_layers(folded, reference, FLOAT)):
        assert sqnr(report) == {"conv": math.inf, "last": math.inf}
        assert report.departing is None
        assert report.largest_drop is None


def test_axes_may_come_in_another_order_and_axes_of_one_may_be_gone() -> None:
    reference = outputs(("conv", IMAGES[0]), ("pool", IMAGES[1][:, :, :1, :1]))
    nhwc = outputs(("conv", IMAGES[0].transpose(0, 2, 3, 1)), ("pool", IMAGES[1][:, :, 0, 0]))
    assert sqnr(compare_layers(reference, nhwc, FLOAT)) == {"conv": math.inf, "pool": math.inf}


def test_a_layer_called_twice_is_compared_with_its_own_call() -> None:
    reference = outputs(("relu", IMAGES[0]), ("conv", IMAGES[1]), ("relu", IMAGES[2]))
    report = compare_layers(reference, outputs(("conv", IMAGES[1]), ("relu", IMAGES[2])), FLOAT)
    assert [(layer.layer, layer.sqnr_db) for layer in report.layers] == [
        ("conv", math.inf),
        ("relu", math.inf),
    ]


def test_the_first_that_departs_and_the_one_that_loses_most() -> None:
    """Errors of 10^-3.5, a hundredth, a tenth and again a tenth of every value: 70, 40, 20 and 20 dB."""
    names = ["a", "b", "c", "d"]
    reference = outputs(*zip(names, IMAGES, strict=False))
    errors = [10**-3.5, 1e-2, 1e-1, 1e-1]
    spoiled = [image * np.float32(1 + error) for image, error in zip(IMAGES, errors, strict=False)]
    report = compare_layers(reference, outputs(*zip(names, spoiled, strict=True)), ("int8", "float32"))
    assert [layer.sqnr_db for layer in report.layers] == pytest.approx([70, 40, 20, 20], abs=0.05)
    # 8 bits can give 48 dB: the first layer has lost nothing of that.
    assert [layer.drop_db for layer in report.layers] == pytest.approx([0, 8, 20, 0], abs=0.05)
    assert report.largest_drop is report.layers[2]
    assert report.departing is None, "the limit of int8 against float is 10 dB"
    departing = compare_layers(reference, outputs(*zip(names, spoiled, strict=True)), FLOAT).departing
    assert departing is not None
    assert departing.layer == "b"


def test_what_is_not_finite_departs() -> None:
    broken = np.where(IMAGES[0] > 2, np.nan, IMAGES[0])
    report = compare_layers(outputs(("conv", IMAGES[0])), outputs(("conv", broken)), FLOAT)
    assert report.departing is report.layers[0]
    assert report.layers[0].sqnr_db == -math.inf


def test_nothing_in_common_is_no_agreement() -> None:
    report = compare_layers(outputs(("conv", IMAGES[0])), outputs(("other", IMAGES[0])), FLOAT)
    assert report.layers == ()
