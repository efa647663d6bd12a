"""`FILE.py:FUNCTION`: batches from a function of the user's own. The file is run: that is the user's choice.

The function takes no arguments and returns an iterable of batches, which then serves all splits, or a
mapping of `train`, `calibrate`, `evaluate` to such (`calibrate` falls back to `train`). A batch is a tuple
`(x,)` or `(x, y)` of arrays or tensors, or an edgepress.data.Batch. `x` is what the network takes, preprocessed already,
the batch axis first, and for a network with several inputs a tuple of them (or the list that a DataLoader makes of it); `y` holds one integer a sample, or a map of
integers for a network that segments, or for one that detects a list with the boxes of each sample, `[class, x0, y0,
x1, y1]` in pixels of the input (a sixth value is 1 where a box is difficult or a crowd, and does not count).
Shuffling is the function's own matter; what it returns once per call (a generator) it is asked for anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgepress.data import SPLITS, Batch, Data, DataOptions, Split
from edgepress.data._labels import checked, joined
from edgepress.errors import BadInput, UnknownName
from edgepress.preprocess import Preprocess
from edgepress.user_file import call, find_function

END = object()
"""What `next` answers behind the last batch; None would be taken for a batch that is wrong."""


def open_source(location: str, options: DataOptions) -> Data:
    """The data that the function `location` returns. Its samples are divided by itself: `options` has no say.

    Raises BadInput when the file is missing or raises (with its line), UnknownName when it has no such
    function. What the batches hold is checked as they come.
    """
    return FunctionData(location, find_function(location))


class FunctionData(Data):
    def __init__(self, name: str, function: Callable[[], Any]) -> None:
        self.name = name
        self._file = Path(name.rpartition(":")[0])
        self._function = function
        self._returned: Any = None
        self._counts: dict[Split, int] = {}

    def count(self, split: Split) -> int:
        """Counted by going through the split once."""
        if split not in self._counts:
            self._counts[split] = sum(len(batch) for batch in self._checked(split))
        return self._counts[split]

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
        end = None if limit is None else skip + limit
        return _regrouped(_window(self._checked(split), skip, end), batch_size, f"{self.name}, {split}")

    def _checked(self, split: Split) -> Iterator[Batch]:
        iterator = call(lambda: iter(self._iterable(split)), self._file)
        number = 0
        while (raw := call(lambda: next(iterator, END), self._file)) is not END:
            yield _batch(raw, f"{self.name}, {split}, batch {number}")
            number += 1

    def _iterable(self, split: Split) -> Iterable[Any]:
        """What the function returned for the split; asked again when that can be gone through only once."""
        returned = self._function() if self._returned is None else self._returned
        found = _of_split(returned, split, self.name)
        self._returned = None if isinstance(found, Iterator) else returned
        return found


def _of_split(returned: Any, split: Split, name: str) -> Iterable[Any]:
    if isinstance(returned, Mapping):
        if unknown := [key for key in returned if key not in SPLITS]:
            raise UnknownName("split", str(unknown[0]), SPLITS, where=name)
        wanted = "train" if split == "calibrate" and "calibrate" not in returned else split
        if wanted not in returned:
            raise BadInput(
                f"The data has no split {wanted!r}.",
                where=name,
                hint=f"it has {', '.join(returned) or 'none'}",
            )
        returned = returned[wanted]
    if not isinstance(returned, Iterable):
        raise BadInput(
            f"The function returned {type(returned).__name__}, not batches.",
            where=name,
            hint="return an iterable of (x,) or (x, y), or a mapping of train, calibrate, evaluate to such",
        )
    return returned


def _batch(raw: Any, where: str) -> Batch:
    if isinstance(raw, Batch):
        batch = Batch(tuple(_array(value, where) for value in raw.inputs), raw.labels)
    elif isinstance(raw, (tuple, list)) and len(raw) in (1, 2):
        inputs = tuple(_array(value, where) for value in _inputs(raw[0]))
        batch = Batch(inputs, raw[1] if len(raw) == 2 else None)
    else:
        raise BadInput(
            f"A batch is (x,) or (x, y), not {_what(raw)}.",
            where=where,
            hint="yield (x, y), each an array or a tensor with the samples first; x may be a tuple of inputs",
        )
    if not batch.inputs or any(len(array) != len(batch) for array in batch.inputs):
        raise BadInput(
            "The inputs of the batch differ in their number of samples.",
            where=where,
            hint="give every input the same number of samples",
        )
    if batch.labels is None:
        return batch
    return Batch(batch.inputs, checked(batch.labels, len(batch), where, "The y of a batch"))


def _inputs(x: Any) -> Sequence[Any]:
    """The inputs that `x` is or holds: a list of tensors is what a DataLoader makes of tuples, any other list samples."""
    is_collated = isinstance(x, list) and all(hasattr(value, "detach") for value in x)
    return x if isinstance(x, tuple) or is_collated else (x,)


def _array(value: Any, where: str) -> np.ndarray:
    """A NumPy array; a tensor of any framework with `.numpy()` is converted, double precision made single."""
    array = _numpy(value, where)
    if array.ndim == 0 or not (np.issubdtype(array.dtype, np.number) or array.dtype == bool):
        raise BadInput(
            f"The inputs of a batch are {_what(value)}, not an array of numbers.",
            where=where,
            hint="an array or a tensor",
        )
    if not np.issubdtype(array.dtype, np.floating):
        return array
    if not np.isfinite(array).all():
        raise BadInput("The inputs of a batch hold NaN or infinite values.", where=where, hint="fix the data")
    return array.astype(np.float32)


def _numpy(value: Any, where: str) -> np.ndarray:
    try:
        if hasattr(value, "detach"):
            value = value.detach().cpu()
        return np.asarray(value.numpy() if hasattr(value, "numpy") else value)
    except Exception as error:  # ragged lists, sparse tensors, objects that only look like arrays
        raise BadInput(
            f"A batch holds something that is not an array: {error}",
            where=where,
            hint="arrays, tensors, or lists of numbers of one length",
        ) from None


def _what(value: Any) -> str:
    return f"{type(value).__name__} of {len(value)}" if hasattr(value, "__len__") else type(value).__name__


def _window(batches: Iterable[Batch], start: int, end: int | None) -> Iterator[Batch]:
    """The samples from number `start` up to `end`."""
    position = 0
    for batch in batches:
        first, last = max(start - position, 0), len(batch) if end is None else min(end - position, len(batch))
        if first < last:
            yield _cut(batch, first, last)
        position += len(batch)
        if end is not None and position >= end:
            return


def _regrouped(batches: Iterable[Batch], size: int, where: str) -> Iterator[Batch]:
    """The same samples in batches of `size`, the last one smaller."""
    waiting: Batch | None = None
    for batch in batches:
        waiting = batch if waiting is None else _joined(waiting, batch, where)
        while waiting is not None and len(waiting) >= size:
            yield _cut(waiting, 0, size)
            waiting = _cut(waiting, size, len(waiting)) if len(waiting) > size else None
    if waiting is not None:
        yield waiting


def _cut(batch: Batch, start: int, end: int) -> Batch:
    labels = None if batch.labels is None else batch.labels[start:end]
    return Batch(tuple(array[start:end] for array in batch.inputs), labels)


def _joined(first: Batch, second: Batch, where: str) -> Batch:
    shapes = [[array.shape[1:] for array in batch.inputs] for batch in (first, second)]
    if shapes[0] != shapes[1]:
        raise BadInput(
            f"The samples of different batches differ in shape: {shapes[0]} and {shapes[1]}.",
            where=where,
            hint="resize them to the network's input size",
        )
    inputs = tuple(np.concatenate(pair) for pair in zip(first.inputs, second.inputs, strict=True))
    if first.labels is None or second.labels is None:
        return Batch(inputs)
    return Batch(inputs, joined(first.labels, second.labels, where))
