"""Bilinear resizing, with the corners of both pictures on one another, as segmenters of Caffe's time do it."""

from __future__ import annotations

import torch
from torch import nn


def resized(features: torch.Tensor, like: torch.Tensor, *, align_corners: bool = True) -> torch.Tensor:
    """The features as high and wide as `like`."""
    return nn.functional.interpolate(
        features, size=like.shape[2:], mode="bilinear", align_corners=align_corners
    )
