"""How a picture becomes the network's input. It travels with the network to the very last file."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np

from edgepress.bounds import Gt, Lt, MinLen

Size = tuple[Annotated[int, Gt(0)], Annotated[int, Gt(0)]]


@dataclass(frozen=True, kw_only=True)
class Preprocess:
    """From an 8-bit picture to a float32 CHW array: `(pixel * scale - mean) / std`.

    With `shorter_side` the picture is first resized so that its shorter side has that many pixels,
    and `size` is cut from its centre; without, it is stretched to `size`. `mean` and `std` have one
    entry a channel, in the network's own `channel_order`.
    """

    size: Size = (224, 224)
    shorter_side: Annotated[int, Gt(0)] | None = None
    scale: Annotated[float, Gt(0)] = 1 / 255
    mean: Annotated[tuple[Annotated[float, Gt(-math.inf), Lt(math.inf)], ...], MinLen(1)] = (
        0.485,
        0.456,
        0.406,
    )
    std: Annotated[tuple[Annotated[float, Gt(0), Lt(math.inf)], ...], MinLen(1)] = (0.229, 0.224, 0.225)
    channel_order: Literal["RGB", "BGR", "L"] = "RGB"

    def __str__(self) -> str:
        """`3 x 8 x 9, RGB, stretched: (pixel * 1 - [104, 117, 123]) / [1, 1, 1]`."""
        shape = " x ".join(map(str, (self.channels, *self.size)))
        cut = (
            f"the centre of a picture with a shorter side of {self.shorter_side}"
            if self.shorter_side
            else "stretched"
        )
        mean, std = (", ".join(f"{value:g}" for value in values) for values in (self.mean, self.std))
        return f"{shape}, {self.channel_order}, {cut}: (pixel * {self.scale:.3g} - [{mean}]) / [{std}]"

    @property
    def channels(self) -> int:
        return 1 if self.channel_order == "L" else 3

    def normalise(self, pictures: np.ndarray) -> np.ndarray:
        """uint8 N x height x width x channels, already of `size`, to float32 N x channels x height x width."""
        if self.channel_order == "BGR":
            pictures = pictures[..., ::-1]
        mean = np.asarray(self.mean, np.float32)
        std = np.asarray(self.std, np.float32)
        values = (pictures.astype(np.float32) * np.float32(self.scale) - mean) / std
        return np.ascontiguousarray(values.transpose(0, 3, 1, 2))


IMAGENET = Preprocess(shorter_side=256)
"""The preprocessing that most ImageNet networks are trained with: 224 x 224 cut from 256."""
