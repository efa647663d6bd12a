"""Normalising pictures, against the formula by hand."""

from __future__ import annotations

import numpy as np
import pytest

from edgepress import options
from edgepress.errors import BadOption
from edgepress.preprocess import IMAGENET, Preprocess

PICTURES = np.random.default_rng(0).integers(0, 256, (2, 5, 7, 3)).astype(np.uint8)


def test_imagenet_values() -> None:
    out = IMAGENET.normalise(PICTURES)
    assert out.shape == (2, 3, 5, 7)
    assert out.dtype == np.float32
    by_hand = (PICTURES[1, 4, 6, 2] / 255 - 0.406) / 0.225
    assert out[1, 2, 4, 6] == pytest.approx(by_hand, rel=1e-6)


def test_means_are_in_the_networks_channel_order() -> None:
    bgr = Preprocess(scale=1.0, mean=(104, 117, 123), std=(1, 1, 1), channel_order="BGR")
    out = bgr.normalise(PICTURES)
    np.testing.assert_array_equal(out[:, 0], PICTURES[..., 2].astype(np.float32) - 104)
    np.testing.assert_array_equal(out[:, 2], PICTURES[..., 0].astype(np.float32) - 123)


def test_pictures_are_left_alone() -> None:
    before = PICTURES.copy()
    assert IMAGENET.normalise(PICTURES).flags.c_contiguous
    np.testing.assert_array_equal(PICTURES, before)


@pytest.mark.parametrize("wrong", [{"size": [0, 4]}, {"scale": 0}, {"mean": []}, {"channel_order": "GBR"}])
def test_values_that_make_no_sense(wrong: dict[str, object]) -> None:
    with pytest.raises(BadOption):
        options.build(Preprocess, wrong)


def test_it_says_every_step() -> None:
    assert str(IMAGENET) == (
        "3 x 224 x 224, RGB, the centre of a picture with a shorter side of 256: "
        "(pixel * 0.00392 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]"
    )
    assert str(Preprocess(size=(8, 9), scale=1, mean=(104,), std=(1,), channel_order="L")) == (
        "1 x 8 x 9, L, stretched: (pixel * 1 - [104]) / [1]"
    )
