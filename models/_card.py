"""What is known about a network of the zoo, kept on the function that builds it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch

from edgepress.preprocess import IMAGENET, Preprocess

Build = TypeVar("Build", bound=Callable[..., torch.nn.Module])


@dataclass(frozen=True, kw_only=True)
class Card:
    """`parameters` and `macs` are of the network as published, at `preprocess.size`, batch 1; `top1` in
    percent is the published figure on `dataset`, None where the source gives none."""

    paper: str
    parameters: int
    macs: int
    dataset: str = "ImageNet"
    top1: float | None = None
    source: str
    preprocess: Preprocess = IMAGENET


def card(details: Card) -> Callable[[Build], Build]:
    """Put the card on a model function and so list it in the zoo.

    A model function takes keyword options, `classes` among them (and `width` where the paper has a
    width multiplier), and returns a freshly initialised module. The first line of its docstring says what it is.
    A module whose published weights go by other names than its own translates them in `renamed_state(state)`.
    """

    def attach(build: Build) -> Build:
        build.card = details  # type: ignore[attr-defined]
        return build

    return attach
