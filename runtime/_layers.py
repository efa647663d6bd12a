"""Layer by layer: how far what happens inside one executor departs from what happens inside another.

The two need not hold the same operators. One may have folded a batch-norm or an activation into the layer before,
or keep its images as NHWC: so what a layer gave is looked for among everything that the other gave from the same
layer on until the next one that both have, in whatever order of axes fits best.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from edgepress.artifact import Precision
from edgepress.layer_output import LayerOutput
from edgepress.runtime._compare import limit_db
from edgepress.sqnr import decibel

CEILING_DB: dict[Precision, float] = {"float32": 144.0, "float16": 66.0, "int8": 48.0, "palette4": 24.0}
"""The SQNR that so many bits can give at most, 6.02 dB a bit: from there the first layer's drop is counted."""
MOST_AXES = 5
"""Of tensors with more, the orders of the axes are too many to try."""


@dataclass(frozen=True, kw_only=True)
class LayerComparison:
    """`max_error` and `sqnr_db` are of the layer's output, so they include what the layers before have done;
    `drop_db` is how far the SQNR falls below that of all layers before."""

    layer: str
    type: str
    max_error: float
    sqnr_db: float
    drop_db: float


@dataclass(frozen=True, kw_only=True)
class LayerReport:
    """The layers that both executors have, in order of execution; empty where one of them tells nothing."""

    layers: tuple[LayerComparison, ...]
    limit_db: float

    @property
    def departing(self) -> LayerComparison | None:
        """The first layer whose output departs beyond the limit."""
        return next((layer for layer in self.layers if layer.sqnr_db < self.limit_db), None)

    @property
    def largest_drop(self) -> LayerComparison | None:
        """The layer that loses most by itself; None when none loses anything."""
        worst = max(self.layers, key=lambda layer: layer.drop_db, default=None)
        return worst if worst is not None and worst.drop_db > 0 else None


def compare_layers(
    reference: Sequence[LayerOutput],
    candidate: Sequence[LayerOutput],
    precisions: tuple[Precision, Precision],
) -> LayerReport:
    """Compare what two executors of these precisions gave for the same inputs."""
    found: list[LayerComparison] = []
    lowest = min(CEILING_DB[precision] for precision in precisions)
    for ours, theirs in _windows(reference, candidate):
        best = max(_departures(ours, theirs), default=None)
        if best is None:
            continue
        sqnr_db, max_error = best
        found.append(
            LayerComparison(
                layer=theirs[0].layer,
                type=theirs[0].type,
                max_error=max_error,
                sqnr_db=sqnr_db,
                drop_db=max(lowest - sqnr_db, 0.0),
            )
        )
        lowest = min(lowest, sqnr_db)
    return LayerReport(layers=tuple(found), limit_db=limit_db(*precisions))


def _windows(
    reference: Sequence[LayerOutput], candidate: Sequence[LayerOutput]
) -> Iterator[tuple[Sequence[LayerOutput], Sequence[LayerOutput]]]:
    """For each layer of both: what each gave from there until the next such layer."""
    pairs = _common(_starts(reference), _starts(candidate))
    places = [*pairs, (len(reference), len(candidate))]
    for (first, second), (first_end, second_end) in itertools.pairwise(places):
        yield reference[first:first_end], candidate[second:second_end]


def _starts(outputs: Sequence[LayerOutput]) -> list[tuple[str, int]]:
    """The layers in order, each with the place of the first of its neighbouring outputs."""
    names = [output.layer for output in outputs]
    return [(name, place) for place, name in enumerate(names) if place == 0 or names[place - 1] != name]


def _common(first: list[tuple[str, int]], second: list[tuple[str, int]]) -> list[tuple[int, int]]:
    """The places of the longest common subsequence of names: layers may occur twice, or in one of them only."""
    length = [[0] * (len(second) + 1) for _ in range(len(first) + 1)]
    for row in reversed(range(len(first))):
        for column in reversed(range(len(second))):
            same = first[row][0] == second[column][0]
            below, beside = length[row + 1][column], length[row][column + 1]
            length[row][column] = length[row + 1][column + 1] + 1 if same else max(below, beside)
    found, row, column = [], 0, 0
    while row < len(first) and column < len(second):
        if first[row][0] == second[column][0]:
            found.append((first[row][1], second[column][1]))
            row, column = row + 1, column + 1
        elif length[row + 1][column] >= length[row][column + 1]:
            row += 1
        else:
            column += 1
    return found


def _departures(ours: Sequence[LayerOutput], theirs: Sequence[LayerOutput]) -> Iterator[tuple[float, float]]:
    """SQNR and largest error of every pair of equal shape."""
    for want, have in itertools.product(ours, theirs):
        value = _without_ones(want.value)
        for arranged in _arrangements(_without_ones(have.value), value.shape):
            yield _departure(value, arranged)


def _without_ones(value: np.ndarray) -> np.ndarray:
    """Without axes of one entry, which runtimes drop as they like; the samples keep theirs."""
    return value.reshape(len(value), *(size for size in value.shape[1:] if size != 1))


def _arrangements(value: np.ndarray, shape: tuple[int, ...]) -> Iterator[np.ndarray]:
    """Every order of the axes behind the samples in which the value has this shape."""
    if value.ndim != len(shape) or value.ndim > MOST_AXES:
        return
    for order in itertools.permutations(range(1, value.ndim)):
        arranged = value.transpose(0, *order)
        if arranged.shape == shape:
            yield arranged


def _departure(want: np.ndarray, have: np.ndarray) -> tuple[float, float]:
    """SQNR in dB and the largest absolute error; -inf and inf for what is not finite."""
    if not np.isfinite(have).all():
        return -math.inf, math.inf
    error = np.subtract(have, want, dtype=np.float64)
    signal = float(np.square(want, dtype=np.float64).sum())
    return decibel(signal, float(np.square(error).sum())), float(np.abs(error).max(initial=0))
