"""The real networks on the real data: the figures that everything else is compared with."""

from __future__ import annotations

import numpy as np
import pytest
import shared_data

from edgepress.accuracy import Accuracy, evaluate


def test_imagenet_sample_is_divided_as_published() -> None:
    data = shared_data.imagenet_sample()
    order = np.random.RandomState(0).permutation(1000)
    (calibrate,) = data.batches("calibrate", shared_data.CAFFE, batch_size=4, limit=4)
    assert (data.count("calibrate"), data.count("evaluate")) == (200, 800)
    assert calibrate.labels is not None
    assert calibrate.labels.tolist() == order[:4].tolist()
    assert calibrate.inputs[0].shape == (4, 3, 227, 227)


def test_resnet20_on_a_part_of_cifar10() -> None:
    """The first 500 pictures of the fixed order; the whole set is the slow test."""
    program = shared_data.resnet20()
    assert evaluate(program.run, shared_data.cifar10(), program.preprocess, limit=500).top1 > 85


@pytest.mark.slow
def test_resnet20_on_all_of_cifar10() -> None:
    program = shared_data.resnet20()
    found = evaluate(program.run, shared_data.cifar10(), program.preprocess)
    assert found.samples == 10_000
    assert found.top1 == pytest.approx(88.70, abs=0.02)  # two pictures: rounding differs between processors


@pytest.mark.slow
def test_squeezenet_on_the_evaluation_part() -> None:
    program = shared_data.squeezenet()
    found = evaluate(program.run, shared_data.imagenet_sample(), program.preprocess)
    assert found == Accuracy(66.75, 87.00, 800)
