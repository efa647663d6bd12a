"""The rounds of planning and measuring: a wrong table, a noisy stopwatch and coarse steps still end near the budget."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from edgepress.compress._channels.latency_rounds import MOST_ROUNDS, TOLERANCE, Round, approach, best
from edgepress.compress._channels.plan import Plan
from edgepress.stopwatch import LatencyRatio

EMPTY = Plan(
    layers=(), macs=1000, macs_after=0, parameters=1, parameters_after=1, weight_bytes=4, weight_bytes_after=4
)


def rounds(
    share: float,
    truth: Callable[[float], float],
    *,
    step: float = 0.01,
    least: float = 0.1,
    noise: float = 0.0,
) -> list[Round]:
    """Plans whose latency by the table is a multiple of `step`, and what a stopwatch says of them."""
    random = np.random.default_rng(0)

    def plan_at(most: float) -> tuple[Plan, float]:
        assert most < 1, "a plan that removes nothing is none"
        table = max(least, np.floor(min(most, 1 - step) / step + 1e-9) * step)
        return dataclasses.replace(EMPTY, macs_after=round(1000 * table)), table

    def measure(plan: Plan) -> LatencyRatio:
        value = truth(plan.macs_after / 1000) * (1 + noise * random.uniform(-1, 1))
        return LatencyRatio(value=value, low=value, high=value, original_cost=1.0)

    return approach(share, 1.0, plan_at, measure)


def wrong(gain: float) -> Callable[[float], float]:
    """What is really saved is `gain` times what the table says."""
    return lambda table: 1 - gain * (1 - table)


@pytest.mark.parametrize("gain", [0.8, 1.0, 1.25, 1.8])
@pytest.mark.parametrize("share", [0.85, 0.6, 0.4])
def test_one_factor_is_found_by_one_measurement(gain: float, share: float) -> None:
    found = rounds(share, wrong(gain), step=0.005)
    assert len(found) <= 2
    taken = best(share, found)
    assert taken is not None
    assert share * (1 - TOLERANCE) <= taken.measured <= share
    assert taken.timing.predicted == pytest.approx(taken.measured, abs=1e-9) or len(found) == 1


def test_what_is_no_factor_is_enclosed() -> None:
    found = rounds(0.5, lambda table: table**2.5)
    taken = best(0.5, found)
    assert taken is not None
    assert taken.measured == pytest.approx(0.5, rel=TOLERANCE)
    assert len(found) <= MOST_ROUNDS


@pytest.mark.parametrize("share", [0.8, 0.7, 0.6, 0.5, 0.4])
def test_noise_of_two_percent_is_no_trouble(share: float) -> None:
    found = rounds(share, wrong(1.3), noise=0.02)
    taken = best(share, found)
    assert taken is not None
    assert taken.measured == pytest.approx(share, rel=TOLERANCE)


def test_with_coarse_steps_the_nearest_above_is_taken_within_the_tolerance() -> None:
    found = rounds(0.5, wrong(1.0), step=0.103)  # 0.412, 0.515, 0.618
    taken = best(0.5, found)
    assert taken is not None
    assert taken.measured == pytest.approx(0.515)


def test_with_coarser_steps_the_slowest_within_the_budget() -> None:
    found = rounds(0.5, wrong(1.0), step=0.22)  # 0.44, 0.66
    taken = best(0.5, found)
    assert taken is not None
    assert taken.measured == pytest.approx(0.44)
    assert len(found) == 1


def test_what_cannot_be_reached_ends_at_the_fastest_plan() -> None:
    found = rounds(0.3, wrong(0.5))
    assert best(0.3, found) is None
    assert min(entry.measured for entry in found) == pytest.approx(1 - 0.5 * 0.9)
    assert len(found) <= 3


def test_a_network_that_gets_no_faster_is_given_up() -> None:
    found = rounds(0.5, lambda table: 1.01)
    assert best(0.5, found) is None
    assert len(found) <= 3


def test_noise_that_turns_the_order_round_asks_for_no_empty_plan() -> None:
    """What is pruned less measures much faster: no line through that tells anything."""
    found = rounds(0.9, lambda table: 1.5 - table, step=0.05)
    assert len(found) <= MOST_ROUNDS
