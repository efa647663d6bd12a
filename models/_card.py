"""What is known about a network of the zoo, kept on the function that builds it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import torch

from edgepress.preprocess import IMAGENET, Preprocess
from edgepress.signature import TensorSpec

Build = TypeVar("Build", bound=Callable[..., torch.nn.Module])
Task = Literal["classification", "detection", "segmentation", "sequence", "generation"]


@dataclass(frozen=True, kw_only=True)
class Variant:
    """The same network under other `options` of its function: counts as on the card, and the published `top1`."""

    options: Mapping[str, Any]
    parameters: int
    macs: int
    top1: float | None = None


@dataclass(frozen=True, kw_only=True)
class Card:
    """`parameters` and `macs` are of the network as published, at its input, batch 1. `top1`, `map` (mean average
    precision) and `miou` (mean intersection over union) are the published figures on `dataset` in percent, each None
    where it does not apply or the source gives none. The input is a picture as `preprocess` makes it; where that is
    None, `inputs` are what the network takes, the batch axis first, in calling order. `variants` are other forms of it
    that were published."""

    paper: str
    task: Task = "classification"
    parameters: int
    macs: int
    dataset: str = "ImageNet"
    top1: float | None = None
    map: float | None = None
    miou: float | None = None
    source: str
    preprocess: Preprocess | None = IMAGENET
    inputs: tuple[TensorSpec, ...] = ()
    variants: tuple[Variant, ...] = ()

    def input_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Of one sample of each input, without the batch axis."""
        if self.preprocess is not None:
            return ((self.preprocess.channels, *self.preprocess.size),)
        return tuple(spec.with_batch(1)[1:] for spec in self.inputs)

    @property
    def figure(self) -> tuple[str, float | None]:
        """What is published of it: the name of the measure, and how much in percent."""
        if self.map is not None:
            return "mAP", self.map
        return ("mIoU", self.miou) if self.miou is not None else ("top-1", self.top1)


def card(details: Card) -> Callable[[Build], Build]:
    """Put the card on a model function and so list it in the zoo.

    A model function takes keyword options, `classes` among them (and `width` where the paper has a
    width multiplier), and returns a freshly initialised module. The first line of its docstring says what it is.
    A module whose published weights go by other names than its own translates them in `renamed_state(state)`.
    """

    def attach(build: Build) -> Build:
        build.card = details  # type: ignore[attr-defined]  # a function may have attributes
        return build

    return attach
