"""Exchanges channels of like importance until what each layer reads is a multiple of the rounding too.

A layer that reads parts of several others' outputs, as in ShuffleNet, has an odd number of channels left even
where each of those is a multiple of eight. Among the channels of one maker, a kept one that such a layer
reads is exchanged for a removed one that another such layer reads, so that the maker's count stays.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from edgepress.compress._channels.budget import Bundle, Problem


def aligned(problem: Problem, kept: np.ndarray, axes: Sequence[int]) -> np.ndarray:
    """Which classes stay (bool) when each bundle keeps `kept` and the counts on `axes` are rounded as far as
    exchanges can; the limits and floors still hold."""
    stays = problem.classes_kept(kept)
    step = max((bundle.step for bundle in problem.bundles), default=1)
    rows = problem.members[[axis for axis in axes if problem.members[axis].sum() >= step]]
    mixed = [
        bundle for bundle in problem.bundles if (rows[:, bundle.classes] != rows[:, bundle.classes[:1]]).any()
    ]
    given_up: set[tuple[int, int]] = set()
    while mixed and step > 1:
        excess = rows @ stays.astype(rows.dtype) % step
        pair = next((pair for pair in _pairs(excess) if pair not in given_up), None)
        if pair is None:
            break
        exchange = _exchange(mixed, rows, stays, *pair)
        if exchange is None or not _is_allowed(problem, stays, *exchange):
            given_up.add(pair)
            continue
        stays[exchange[0]], stays[exchange[1]] = False, True
    return stays


def _pairs(excess: np.ndarray) -> Iterator[tuple[int, int]]:
    """(axis that should lose one, axis that should gain one): the smallest excess first, the largest after."""
    order = [axis for axis in np.argsort(excess, kind="stable").tolist() if excess[axis]]
    for place, loser in enumerate(order):
        for gainer in reversed(order[place + 1 :]):
            yield loser, gainer


def _exchange(
    bundles: Sequence[Bundle], rows: np.ndarray, stays: np.ndarray, loser: int, gainer: int
) -> tuple[int, int] | None:
    """The kept and the removed class that differ only in who of the two reads them, and least in score."""
    best: tuple[float, int, int] | None = None
    for bundle in bundles:
        columns = rows[:, bundle.classes]
        others = np.delete(columns, [loser, gainer], axis=0).any(0)
        read = columns[[loser, gainer]]
        out = np.flatnonzero(stays[bundle.classes] & (read[0] == 1) & (read[1] == 0) & ~others)
        back = np.flatnonzero(~stays[bundle.classes] & (read[0] == 0) & (read[1] == 1) & ~others)
        if len(out) and len(back):
            loss = float(bundle.scores[out[0]] - bundle.scores[back[-1]])
            if best is None or loss < best[0]:
                best = (loss, int(bundle.classes[out[0]]), int(bundle.classes[back[-1]]))
    return None if best is None else best[1:]


def _is_allowed(problem: Problem, stays: np.ndarray, out: int, back: int) -> bool:
    trial = stays.copy()
    trial[out], trial[back] = False, True
    counts = problem.members @ trial.astype(problem.members.dtype)
    return problem.is_within(counts) and bool((counts >= problem.floors).all())
