"""`npz:FILE`: arrays that NumPy saved: `x` and `y`, or `x_train`, `y_train`, `x_test`, `y_test`; labels may be absent.

uint8 N x height x width (x 1 or 3 channels, RGB) are pictures and go through the network's preprocessing.
Floating-point arrays are what the network takes already (pictures N x channels x height x width). Labels are one
integer a sample, or for each pixel of the network's output (N x height x width), or boxes (N x most x 5 or 6: see
`edgepress.data.Batch`) in pixels of its input.
"""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from edgepress.data import Data, DataOptions
from edgepress.data._indexed import IndexedData, Splits, divided, given
from edgepress.data._labels import checked, joined
from edgepress.data._pictures import PictureData
from edgepress.errors import BadInput
from edgepress.files import existing_file
from edgepress.preprocess import Preprocess

WHOLE = ({"x"}, {"x", "y"})
DIVIDED = ({"x_train", "x_test"}, {"x_train", "y_train", "x_test", "y_test"})


def open_source(location: str, options: DataOptions) -> Data:
    """The arrays in the file `location`.

    Raises BadInput when it is missing, is no .npz, holds pickled objects, or holds other names, shapes
    or types than above.
    """
    path = existing_file(Path(location).expanduser(), "data file")
    arrays = _arrays(path)
    if set(arrays) in WHOLE:
        samples, labels = arrays["x"], arrays.get("y")
        splits = divided(len(samples) if samples.ndim else 0, options)
    elif set(arrays) in DIVIDED:
        train, test = arrays["x_train"], arrays["x_test"]
        if train.shape[1:] != test.shape[1:] or train.dtype != test.dtype:
            raise _unfit(path, f"x_train is {_text(train)} but x_test is {_text(test)}")
        first, second = (
            _checked_labels(arrays.get(f"y_{part}"), len(x) if x.ndim else 0, path)
            for part, x in (("train", train), ("test", test))
        )
        samples = np.concatenate([train, test])
        labels = None if first is None or second is None else joined(first, second, str(path))
        splits = given(len(train), len(test), options)
    else:
        raise _unfit(path, f"its arrays are called {', '.join(sorted(arrays)) or '(none)'}")
    labels = _checked_labels(labels, len(samples) if samples.ndim else 0, path)
    name = f"npz:{location}"
    if _are_pictures(samples):
        return PictureData(name, lambda index: _picture(samples[index]), splits, labels)
    return _ReadyData(name, splits, labels, _checked_samples(samples, path))


class _ReadyData(IndexedData):
    """Samples that need no preprocessing."""

    def __init__(self, name: str, splits: Splits, labels: np.ndarray | None, samples: np.ndarray) -> None:
        super().__init__(name, splits, labels)
        self._samples = samples

    def read(self, indices: np.ndarray, preprocess: Preprocess | None) -> tuple[np.ndarray, ...]:
        return (self._samples[indices].astype(np.float32),)


def _arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            raise _unfit(path, "it is a single array (.npy)")
        with loaded:
            return {name: loaded[name] for name in loaded.files}
    except (
        OSError,
        ValueError,
        EOFError,
        KeyError,
        NotImplementedError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise BadInput(
            f"The data file {path.name!r} cannot be read: {error}",
            where=str(path),
            hint="save plain arrays with numpy.savez; objects (pickle) are never loaded",
        ) from None


def _are_pictures(samples: np.ndarray) -> bool:
    return samples.dtype == np.uint8 and (
        samples.ndim == 3 or (samples.ndim == 4 and samples.shape[3] in (1, 3))
    )


def _picture(array: np.ndarray) -> Image.Image:
    return Image.fromarray(array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array)


def _checked_samples(samples: np.ndarray, path: Path) -> np.ndarray:
    if not np.issubdtype(samples.dtype, np.floating) or samples.ndim < 2:
        raise _unfit(path, f"x is {_text(samples)}")
    if not np.isfinite(samples).all():
        raise _unfit(path, "x holds NaN or infinite values")
    return samples


def _checked_labels(labels: np.ndarray | None, count: int, path: Path) -> np.ndarray | None:
    if not count:
        raise _unfit(path, "it has no samples")
    if labels is None:
        return None
    found = checked(labels, count, str(path), f"In {path.name!r} y")
    if found.ndim < 3 and found.min() < 0:
        raise _unfit(path, f"y holds the negative label {found.min()}")
    return found


def _unfit(path: Path, what: str) -> BadInput:
    return BadInput(
        f"The arrays in {path.name!r} cannot be used: {what}.",
        where=str(path),
        hint="x (or x_train and x_test): uint8 N x height x width x 1 or 3, or float32 as the network takes it; "
        "y: integers",
    )


def _text(array: np.ndarray) -> str:
    return f"{array.dtype} {' x '.join(map(str, array.shape)) or 'scalar'}"
