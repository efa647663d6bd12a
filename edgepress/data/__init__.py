"""Batches to calibrate, train and evaluate with, from a text such as `folder:./photos` or `digits`.

A kind of source is one file in this folder, named like the word before the colon, with a function
`open_source(location: str, options: DataOptions) -> Data`. NumPy only: a board reads its data with this too.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, get_args

import numpy as np

from edgepress import plugins
from edgepress.bounds import Ge, Gt, Lt
from edgepress.errors import BadInput, UnknownName
from edgepress.preprocess import Preprocess
from edgepress.signature import Signature

Split = Literal["train", "calibrate", "evaluate"]
SPLITS: tuple[Split, ...] = get_args(Split)
NO_CLASS = 255
"""In labels of pixels: none of the classes, as the sets of segmented pictures have it along edges."""


@dataclass(frozen=True)
class Batch:
    """`inputs` in the network's calling order, each with the batch axis first. `labels` are None, or a class each (int64
    N), or one for every pixel (int64 N x height x width, 255 for none), or boxes (float32 N x most x 6): class, x0, y0,
    x1, y1 in pixels of the input, and 1 where it does not count against the network (difficult, or a crowd); a class
    of -1 fills up pictures with fewer boxes than the others."""

    inputs: tuple[np.ndarray, ...]
    labels: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.inputs[0])


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """How a source is divided where it does not say so itself: the first `train_share` of a seeded
    permutation trains and calibrates, the rest evaluates."""

    train_share: Annotated[float, Gt(0), Lt(1)] = 0.8
    seed: Annotated[int, Ge(0), Lt(2**32)] = 0


class Data(ABC):
    """A set of samples in three splits. `calibrate` shares its samples with `train`, in a fixed order."""

    name: str
    class_names: tuple[str, ...] = ()

    def class_count(self) -> int | None:
        """How many classes there are: at least so many when only labels tell; None when nothing does."""
        return len(self.class_names) or None

    @abstractmethod
    def count(self, split: Split) -> int:
        """How many samples the split holds."""

    @abstractmethod
    def batches(
        self,
        split: Split,
        preprocess: Preprocess | None,
        *,
        batch_size: int = 64,
        skip: int = 0,
        limit: int | None = None,
        shuffle_seed: int | None = None,
    ) -> Iterator[Batch]:
        """The split in batches (the last may be smaller): without its first `skip` samples, of the rest at
        most `limit`, and these shuffled when a seed is given. (`skip` holds samples back for validation.)"""


def check_labels(data: Data, signature: Signature) -> None:
    """Raise BadInput when the data's classes cannot be the ones the network's first output scores, samples x classes."""
    shape = signature.outputs[0].shape
    if len(shape) > 2 and any(size != 1 for size in shape[2:]):
        return
    classes, scores = data.class_count(), shape[1] if len(shape) > 2 else shape[-1]
    if classes is None or scores is None or classes == scores or (classes < scores and not data.class_names):
        return
    raise BadInput(
        f"The data has {classes} classes, but the network scores {scores}.",
        where=f"data {data.name}",
        hint="use the data the network was trained for, or give the network as many outputs",
    )


def open_data(text: str, options: DataOptions = DataOptions()) -> Data:
    """The Data that `text` names: `folder:DIR`, `npz:FILE`, `digits` or `file.py:function`."""
    kind, _, location = text.partition(":")
    if kind.endswith(".py"):
        kind, location = "function", text
    known = plugins.names("edgepress.data")
    if kind not in known and Path(text).exists():
        likely = "folder" if Path(text).is_dir() else "npz"
        raise BadInput(
            f"The kind of the data {text!r} is not given.",
            where=f"--data {text}",
            hint=f"--data {likely}:{text}",
        )
    if kind not in known:
        raise UnknownName("kind of data", kind, known, where=f"--data {text}")
    data: Data = plugins.load("edgepress.data", kind, kind="kind of data").open_source(location, options)
    return data
