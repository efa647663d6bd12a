"""Exchanges that round what layers read: they happen, keep each maker's count, and go no further than they may."""

from __future__ import annotations

import numpy as np

from edgepress.compress._channels.alignment import aligned
from edgepress.compress._channels.budget import Bundle, Limit, Problem
from edgepress.compress._channels.structure import Amount

STEP = 4


def problem(reads: tuple[int, int], *, floors: tuple[int, int] = (1, 1), most: float = np.inf) -> Problem:
    """One maker of channels, the least important first, of which every second one goes to each of two readers
    that have `reads` other channels from elsewhere; and a limit on what the second reads."""
    own = np.arange(16)
    members = np.zeros((2, 16 + sum(reads)), np.int32)
    members[own % 2, own] = 1
    members[0, 16 : 16 + reads[0]] = 1
    members[1, 16 + reads[0] :] = 1
    whole = members.sum(1)
    second = Amount(int(whole[1]), whole, np.ones(1), np.array([[1]]))
    limits = (Limit(second, most, "what the second reads"),)
    return Problem((Bundle(own, own.astype(float), STEP),), members, np.array(floors), limits)


def test_what_the_layers_read_becomes_a_multiple_of_the_step() -> None:
    given = problem((1, 3))
    stays = aligned(given, np.array([8]), [0, 1])
    assert (given.members @ stays).tolist() == [4, 8]
    assert stays[:16].sum() == 8, "the maker keeps its count"
    # The least important that the first reads goes, the most important that the second had lost comes back.
    assert np.flatnonzero(~stays).tolist() == [0, 1, 2, 3, 4, 5, 6, 8]


def test_nothing_changes_where_all_counts_are_round() -> None:
    given = problem((0, 0))
    assert aligned(given, np.array([8]), [0, 1]).tolist() == given.classes_kept(np.array([8])).tolist()


def test_no_exchange_goes_over_a_limit() -> None:
    given = problem((1, 3), most=7)
    assert (given.members @ aligned(given, np.array([8]), [0, 1])).tolist() == [5, 7]


def test_no_exchange_goes_below_a_floor() -> None:
    """Without one, a layer that reads a single channel more than a multiple could lose its only one."""
    given = problem((1, 3), floors=(5, 1))
    assert (given.members @ aligned(given, np.array([8]), [0, 1])).tolist() == [5, 7]


def test_a_channel_that_a_third_layer_reads_is_not_exchanged() -> None:
    given = problem((1, 3))
    members = np.concatenate([given.members, np.zeros((1, given.members.shape[1]), np.int32)])
    members[2, :16:2] = 1
    third = Problem(given.bundles, members, np.array([1, 1, 1]), given.limits)
    assert (members @ aligned(third, np.array([8]), [0, 1, 2])).tolist()[:2] == [5, 7]
