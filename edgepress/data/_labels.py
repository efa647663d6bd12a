"""Labels as they are given, checked: a class for each sample, one for each pixel, or boxes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgepress.errors import BadInput

HINT = (
    "one integer a sample, an integer map a sample (255: no class), or for each sample boxes of "
    "[class, x0, y0, x1, y1] with, if need be, a sixth value that is 1 where a box does not count"
)
FIELDS = 6


def checked(value: Any, count: int, where: str, what: str) -> np.ndarray:
    """`value` as `edgepress.data.Batch` has labels. Raises BadInput for what fits none of their forms; `what` names it."""
    if isinstance(value, list | tuple) and len(value) and all(np.ndim(_array(one)) == 2 for one in value):
        return _boxes([np.asarray(_array(one)) for one in value], count, where, what)
    labels = np.asarray(_array(value))
    if labels.shape in ((count,), (count, 1)) and np.issubdtype(labels.dtype, np.integer):
        return labels.reshape(count).astype(np.int64)
    if labels.ndim == 3 and len(labels) == count and np.issubdtype(labels.dtype, np.integer):
        return labels.astype(np.int64)
    if labels.ndim == 3 and labels.shape[2] in (FIELDS - 1, FIELDS):
        return _boxes(list(labels), count, where, what)
    raise BadInput(
        f"{what} is {labels.dtype} {' x '.join(map(str, labels.shape)) or 'scalar'} for {count} samples.",
        where=where,
        hint=HINT,
    )


def joined(first: np.ndarray, second: np.ndarray, where: str) -> np.ndarray:
    """The labels of both, boxes filled up to the same number. Raises BadInput for labels of different forms."""
    if first.ndim == 3 and first.dtype == second.dtype == np.float32:
        most = max(first.shape[1], second.shape[1])
        return np.concatenate([_filled(first, most), _filled(second, most)])
    if first.shape[1:] != second.shape[1:] or first.dtype != second.dtype:
        raise BadInput(
            f"The labels of different batches differ in shape: {first.shape[1:]} and {second.shape[1:]}.",
            where=where,
            hint="labels of one shape: pad them",
        )
    return np.concatenate([first, second])


def class_count(labels: np.ndarray, no_class: int) -> int | None:
    """At least so many classes there are; None where no label says."""
    if labels.dtype == np.float32:
        labels = labels[..., 0]
    elif labels.ndim == 3:
        labels = labels[labels != no_class]
    return int(labels.max()) + 1 if labels.size and labels.max() >= 0 else None


def _boxes(pictures: Sequence[np.ndarray], count: int, where: str, what: str) -> np.ndarray:
    """float32 count x most x 6."""
    if len(pictures) != count:
        raise BadInput(
            f"{what} has boxes of {len(pictures)} pictures for {count} samples.",
            where=where,
            hint="one list of boxes for each picture",
        )
    most = max((len(boxes) for boxes in pictures), default=0)
    found = np.full((count, most, FIELDS), 0, np.float32)
    found[:, :, 0] = -1
    for number, boxes in enumerate(pictures):
        if boxes.size and boxes.shape[1] not in (FIELDS - 1, FIELDS):
            raise BadInput(
                f"The boxes of sample {number} have {boxes.shape[1]} values each.", where=where, hint=HINT
            )
        if boxes.size:
            found[number, : len(boxes), : boxes.shape[1]] = boxes
    _check_boxes(found, where)
    return found


def _check_boxes(boxes: np.ndarray, where: str) -> None:
    present = boxes[..., 0] != -1
    is_whole = (boxes[..., 0] == np.floor(boxes[..., 0])) & (boxes[..., 0] >= 0)
    ends_right = (boxes[..., 3] >= boxes[..., 1]) & (boxes[..., 4] >= boxes[..., 2])
    wrong = present & ~(np.isfinite(boxes).all(2) & is_whole & ends_right)
    if wrong.any():
        sample, place = (int(axis[0]) for axis in np.nonzero(wrong))
        values = ", ".join(f"{value:g}" for value in boxes[sample, place, : FIELDS - 1])
        raise BadInput(
            f"Box {place} of sample {sample} is not valid: {values}.",
            where=where,
            hint="[class, x0, y0, x1, y1], the class a whole number from 0, the corners in pixels, upper left first",
        )


def _filled(boxes: np.ndarray, most: int) -> np.ndarray:
    more = np.zeros((len(boxes), most - boxes.shape[1], FIELDS), np.float32)
    more[..., 0] = -1
    return np.concatenate([boxes, more], axis=1)


def _array(value: Any) -> Any:
    """What NumPy understands; a tensor of any framework with `.numpy()` is converted."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
    return value.numpy() if hasattr(value, "numpy") else value
