"""The ratio of two latencies and its interval."""

from __future__ import annotations

import numpy as np
import pytest

from edgepress.benchmarks import Ratio, cost_warning, integer_warning, of_integers, ratio


def _drifting(random: np.random.Generator, level_ms: float, drift: np.ndarray) -> list[float]:
    """Five samples a round: the level times the machine's state in that round, with a little noise of their own."""
    return (level_ms * np.repeat(drift, 5) * random.normal(1, 0.01, 5 * len(drift))).tolist()


def test_interleaving_cancels_what_hits_both(make_measurement):
    random = np.random.default_rng(1)
    drift = random.uniform(1.0, 1.5, 25)
    facts = {"rounds": 25, "comparison": "same"}
    before = make_measurement(_drifting(random, 2.0, drift), **facts)
    after = make_measurement(_drifting(random, 1.0, drift), **facts)
    together = ratio(before, after)
    apart = ratio(before, make_measurement(after.latency_ms, rounds=25))
    assert together.paired
    assert not apart.paired
    assert together.value == apart.value == pytest.approx(0.5, rel=0.02)
    assert together.high - together.low < 0.5 * (apart.high - apart.low)


def test_the_interval_covers_the_truth_as_often_as_it_claims(make_measurement):
    random = np.random.default_rng(2)
    covered = 0
    for _ in range(60):
        drift = random.uniform(1.0, 1.3, 25)
        before = make_measurement(_drifting(random, 2.0, drift), rounds=25, comparison="same")
        after = make_measurement(_drifting(random, 1.5, drift), rounds=25, comparison="same")
        found = ratio(before, after)
        covered += found.low <= 0.75 <= found.high
    # 95 % of 60 is 57; fewer than 51 would happen once in 500 tries if the claim held (binomial).
    assert covered >= 51


def test_a_ratio_needs_samples(make_measurement):
    with pytest.raises(ValueError, match="samples"):
        ratio(make_measurement([]), make_measurement([1.0]))


def test_fewer_macs_without_less_latency_is_said():
    level = Ratio(value=1.02, low=0.98, high=1.06, paired=True)
    assert cost_warning(100, 50, level) == [
        "MACs fell by 50% but latency did not: it is 1.02 times the original's (0.98 to 1.06)."
    ]
    assert cost_warning(100, 95, level) == []
    assert cost_warning(100, 50, Ratio(value=0.7, low=0.65, high=0.75, paired=True)) == []


def test_integers_that_are_slower_than_float_are_said() -> None:
    slower = Ratio(value=1.4, low=1.3, high=1.5, paired=True)
    (sentence,) = integer_warning("float32", "int8", slower)
    assert sentence.startswith("INT8 is slower than float here: 1.40 times")
    assert integer_warning("float32", "float32", slower) == []
    assert integer_warning("int8", "int8", slower) == []
    assert integer_warning("float32", "int8", Ratio(value=1.1, low=0.9, high=1.3, paired=True)) == []


def test_an_integer_file_is_held_against_the_float_one_of_the_same_place(make_measurement) -> None:
    slow = make_measurement([1.4, 1.41, 1.42], precision="int8")
    fast, elsewhere = make_measurement([1.0, 1.01, 1.02]), make_measurement([1.0, 1.01, 1.02], threads=2)
    (sentence,) = of_integers(slow, [elsewhere, fast, slow])
    assert sentence.startswith(f"INT8 is slower than float here: 1.40 times the latency of {fast.name} (")
    assert of_integers(slow, [elsewhere, slow]) == []
    assert of_integers(fast, [fast, slow]) == []
    emulated = make_measurement([9.0], precision="int8", runner="torch")
    assert "emulates" in of_integers(emulated, [make_measurement([1.0], runner="torch"), emulated])[0]
