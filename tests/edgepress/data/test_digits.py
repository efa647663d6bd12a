"""The built-in digits."""

from __future__ import annotations

import numpy as np
import pytest

from edgepress.data import open_data
from edgepress.errors import BadInput
from edgepress.preprocess import Preprocess

pytest.importorskip("sklearn", reason="needs the digits extra")


def test_real_digits_at_the_networks_size() -> None:
    data = open_data("digits")
    assert data.count("train") + data.count("evaluate") == 1797
    assert data.count("calibrate") == data.count("train") == 1438
    (batch,) = data.batches("evaluate", Preprocess(size=(32, 32)), limit=100, batch_size=100)
    assert batch.inputs[0].shape == (100, 3, 32, 32)
    assert batch.labels is not None
    assert set(batch.labels) == set(range(10))


def test_neighbours_of_a_digit_are_mostly_the_same_digit() -> None:
    """The nearest training picture tells the digit in 98 % of cases, so pictures and labels belong together."""
    grey = Preprocess(size=(8, 8), mean=(0,), std=(1,), channel_order="L")
    data = open_data("digits")
    (train,), (test,) = (list(data.batches(split, grey, batch_size=2000)) for split in ("train", "evaluate"))
    a, b = train.inputs[0].reshape(len(train), -1), test.inputs[0].reshape(len(test), -1)
    nearest = ((b[:, None] - a[None]) ** 2).sum(-1).argmin(1)
    assert np.mean(train.labels[nearest] == test.labels) > 0.97


def test_digits_take_no_location() -> None:
    with pytest.raises(BadInput, match="no location"):
        open_data("digits:somewhere")
