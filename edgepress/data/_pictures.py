"""Pictures as the network wants them: decoded and resized by Pillow, kept in memory while they fit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from edgepress.data._indexed import IndexedData, Splits
from edgepress.errors import BadInput, BadOption
from edgepress.preprocess import Preprocess

CACHE_BYTES = 512 << 20
"""At most so many bytes of resized 8-bit pictures stay in memory; the rest is decoded at every reading."""


class PictureData(IndexedData):
    """Samples that are pictures; `open_picture` gives one by its number."""

    def __init__(
        self,
        name: str,
        open_picture: Callable[[int], Image.Image],
        splits: Splits,
        labels: np.ndarray | None,
        class_names: tuple[str, ...] = (),
    ) -> None:
        super().__init__(name, splits, labels, class_names)
        self._open = open_picture
        self._cache: dict[int, np.ndarray] = {}
        self._cached_bytes = 0
        self._cached_geometry: tuple[Any, ...] = ()

    def read(self, indices: np.ndarray, preprocess: Preprocess | None) -> tuple[np.ndarray, ...]:
        if preprocess is None:
            raise BadInput(
                "The network has no preprocessing that turns pictures into its input.",
                where=f"data {self.name}",
                hint="capture it with a Preprocess, or give arrays that are ready (npz with float32)",
            )
        geometry = (preprocess.size, preprocess.shorter_side, preprocess.channel_order == "L")
        if geometry != self._cached_geometry:
            self._cache.clear()
            self._cached_bytes, self._cached_geometry = 0, geometry
        return (preprocess.normalise(np.stack([self._picture(int(i), preprocess) for i in indices])),)

    def _picture(self, index: int, preprocess: Preprocess) -> np.ndarray:
        found = self._cache.get(index)
        if found is None:
            found = fitted(self._open(index), preprocess)
            if self._cached_bytes + found.nbytes <= CACHE_BYTES:
                self._cache[index] = found
                self._cached_bytes += found.nbytes
        return found


def fitted(picture: Image.Image, preprocess: Preprocess) -> np.ndarray:
    """The picture as uint8 height x width x channels (RGB, or L when the network takes grey), of `preprocess.size`.

    Resizing is bilinear with antialiasing. A rotation noted in EXIF is ignored, as training pipelines do.
    """
    picture = picture.convert("L" if preprocess.channel_order == "L" else "RGB")
    height, width = preprocess.size
    if preprocess.shorter_side is None:
        resized = _resized(picture, width, height)
    else:
        resized = _centre(_with_shorter_side(picture, preprocess.shorter_side), width, height)
    array = np.asarray(resized, np.uint8)
    return array if array.ndim == 3 else array[..., None]


def _resized(picture: Image.Image, width: int, height: int) -> Image.Image:
    if picture.size == (width, height):
        return picture
    return picture.resize((width, height), Image.Resampling.BILINEAR)


def _with_shorter_side(picture: Image.Image, pixels: int) -> Image.Image:
    width, height = picture.size
    if width <= height:
        return _resized(picture, pixels, pixels * height // width)
    return _resized(picture, pixels * width // height, pixels)


def _centre(picture: Image.Image, width: int, height: int) -> Image.Image:
    left, top = round((picture.width - width) / 2), round((picture.height - height) / 2)
    if left < 0 or top < 0:
        raise BadOption(
            f"A picture resized to {picture.width}x{picture.height} has no centre of {width}x{height}.",
            where="preprocess: shorter_side",
            hint="make shorter_side at least as large as size",
        )
    return picture.crop((left, top, left + width, top + height))
