"""The real data sets and trained networks that tests, benchmarks and examples measure with.

A test says `import shared_data` (tests/conftest.py makes that work) and calls what it needs. A script
first does what the conftest does: `import sys, edgepress; sys.path.append("tests")`, in this order, for
tests/edgepress would hide the package. The files lie in the folder $EDGEPRESS_SHARED, or in `shared/data`
beside the checkout; where they are absent the test is skipped with that reason.

    program, data = shared_data.squeezenet(), shared_data.imagenet_sample()
    evaluate(program.run, data, program.preprocess, limit=200).top1
"""

from __future__ import annotations

import functools
import io
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from edgepress.data import Data, DataOptions, open_data
from edgepress.data._indexed import given
from edgepress.data._pictures import PictureData
from edgepress.models import resnet_cifar
from edgepress.models import squeezenet as squeezenet_family
from edgepress.preprocess import Preprocess
from edgepress.program import Program

CAFFE = Preprocess(
    size=(227, 227), shorter_side=256, scale=1.0, mean=(104, 117, 123), std=(1, 1, 1), channel_order="BGR"
)
CIFAR10_CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


@functools.cache
def folder() -> Path:
    """The folder of the shared data; skips the calling test where there is none."""
    named = os.environ.get("EDGEPRESS_SHARED")
    beside = Path(__file__).resolve().parents[2] / "shared"
    for candidate in (Path(named), Path(named) / "data") if named else (beside, beside / "data"):
        if (candidate / "cifar10_jpeg.npz").is_file():
            return candidate
    pytest.skip(f"shared data not found in {named or beside}: set EDGEPRESS_SHARED to its folder")


@functools.cache
def cifar10(train_limit: int | None = None, evaluate_limit: int | None = None) -> Data:
    """CIFAR-10 (50,000 train and calibrate, 10,000 evaluate), or as many of each as the limits say, mixed by a
    fixed permutation. Pictures are decoded when read first."""
    with np.load(folder() / "cifar10_jpeg.npz") as arrays:
        parts = {name: arrays[name] for name in arrays.files}
    pictures = [picture for split in ("train", "test") for picture in _jpegs(parts, split)]
    labels = np.concatenate([parts["train_y"], parts["test_y"]]).astype(np.int64)
    whole = given(len(parts["train_y"]), len(parts["test_y"]), DataOptions())
    splits = {
        "train": whole["train"][:train_limit],
        "calibrate": whole["calibrate"][:train_limit],
        "evaluate": whole["evaluate"][:evaluate_limit],
    }
    return PictureData(
        "cifar10",
        lambda index: Image.open(io.BytesIO(pictures[index])),
        splits,
        labels,
        tuple(CIFAR10_CLASSES),
    )


@functools.cache
def imagenet_sample() -> Data:
    """One picture of each ImageNet class: 200 calibrate, the other 800 evaluate."""
    return open_data(f"folder:{folder() / 'imagenet_sample'}", DataOptions(train_share=0.2, seed=0))


@functools.cache
def resnet20() -> Program:
    """ResNet-20 trained on CIFAR-10: 88.70 % on the 10,000 test pictures."""
    model = resnet_cifar.resnet20()
    model.load_state_dict(_tensors("resnet20_cifar10.npz"))
    return Program.capture(
        model, (torch.zeros(2, 3, 32, 32),), preprocess=resnet_cifar.CIFAR10, labels=CIFAR10_CLASSES
    )


@functools.cache
def squeezenet() -> Program:
    """SqueezeNet 1.0 trained on ImageNet: 66.75 % top-1 and 87.00 % top-5 on the 800 of imagenet_sample."""
    model = squeezenet_family.squeezenet1_0(final_padding=1)
    model.load_state_dict(model.renamed_state(_tensors("squeezenet1_0_imagenet.npz")))
    lines = (folder() / "imagenet_sample" / "labels.txt").read_text(encoding="utf-8").splitlines()
    labels = [line.partition(" ")[2] for line in lines]
    return Program.capture(model, (torch.zeros(2, 3, 227, 227),), preprocess=CAFFE, labels=labels)


def _jpegs(parts: dict[str, np.ndarray], split: str) -> list[bytes]:
    content, offsets = parts[f"{split}_jpeg"].tobytes(), parts[f"{split}_offset"].tolist()
    return [content[start:end] for start, end in zip(offsets, offsets[1:], strict=False)]


def _tensors(file: str) -> dict[str, torch.Tensor]:
    with np.load(folder() / file) as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays.files}
