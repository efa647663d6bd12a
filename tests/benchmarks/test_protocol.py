"""The timing protocol: who runs when, what is on the clock, and what is said about the noise."""

from __future__ import annotations

import gc
from collections import Counter

import numpy as np
import pytest

from edgepress.benchmarks import Protocol, compare, measure, ratio
from edgepress.errors import BadInput

QUICK = Protocol(rounds=6, min_runs=30, min_seconds=0, min_warmup_runs=10, max_warmup_runs=20)


def test_the_clock_sees_the_invocation_and_nothing_else(make_runner):
    measured = measure(make_runner("a", busy_ms=2.0), QUICK)
    # A busy wait never returns early; without other work on the core it overshoots by microseconds.
    assert min(measured.latency_ms) == pytest.approx(2.0, rel=0.02)
    assert min(measured.latency_ms) >= 2.0
    assert measured.first_inference_ms >= 2.0
    assert len(measured.latency_ms) == 30
    assert measured.rounds == 6


def test_rounds_are_interleaved_in_every_order(make_runner, log):
    compare([make_runner(name) for name in "abc"], QUICK)
    # 30 timed runs over 6 rounds and one untimed run each make turns of 6 invocations.
    turns = [entry for entry in log if " " not in entry][-18 * 6 :: 6]
    rounds = ["".join(turns[start : start + 3]) for start in range(0, 18, 3)]
    assert sorted(rounds) == ["abc", "acb", "bac", "bca", "cab", "cba"]


def test_each_turn_begins_with_one_run_off_the_clock(make_runner, log):
    measured = compare([make_runner("a"), make_runner("b")], QUICK)[0]
    rehearsal = 1
    assert Counter(log)["a"] == rehearsal + measured.warmup_runs + QUICK.rounds + len(measured.latency_ms)


def test_a_comparison_finds_the_ratio_that_was_built_in(make_runner):
    fast, slow = compare([make_runner("fast", busy_ms=0.5), make_runner("slow", busy_ms=1.0)], QUICK)
    found = ratio(fast, slow)
    assert found.paired
    # 0.5 ms against 1 ms: within 1 % on a quiet machine; tests that run beside this one take their share of both.
    assert found.value == pytest.approx(2.0, rel=0.2)
    assert found.low <= found.value <= found.high


def test_garbage_collection_is_off_while_timing_and_back_on_afterwards(make_runner):
    seen = []
    runner = make_runner("a")
    invoke = runner.invoke
    runner.invoke = lambda: (seen.append(gc.isenabled()), invoke())
    measured = measure(runner, QUICK)
    # One rehearsal and the warm-up come first.
    assert not any(seen[1 + measured.warmup_runs :])
    assert gc.isenabled()


def test_profiling_happens_only_when_asked_for(make_runner):
    assert measure(make_runner("a"), QUICK).layers == ()
    asked = Protocol(rounds=2, min_runs=2, min_seconds=0, profile_runs=3)
    assert [layer.type for layer in measure(make_runner("a"), asked).layers] == ["matmul"]


def test_a_runner_that_fails_to_open_leaves_none_open(make_runner, log):
    good, bad = make_runner("good"), make_runner("bad")
    bad.artifact.path.write_bytes(b"no matrix")
    with pytest.raises(ValueError, match=r"pickled|magic|Cannot load"):
        compare([good, bad], QUICK)
    assert log[-1] == "close good"


def test_too_slow_for_the_time_allowed_is_said_not_hidden(make_runner):
    hurried = Protocol(
        rounds=2, min_runs=1000, min_seconds=0, max_seconds=0.02, min_warmup_runs=1, max_warmup_runs=2
    )
    measured = measure(make_runner("a", busy_ms=5.0), hurried)
    runs = len(measured.latency_ms)
    assert 1 <= runs <= 4, "two rounds of 20 ms hold at most four runs of 5 ms, on a busy machine fewer"
    assert f"Only {runs} of 1000 runs fitted into the time allowed." in measured.warnings
    assert any("Not settled" in warning for warning in measured.warnings)


def test_inputs_that_do_not_fit_are_refused_before_anything_is_opened(make_runner, log):
    with pytest.raises(BadInput, match="takes float32 Nx8"):
        measure(make_runner("a"), QUICK, [np.zeros((1, 9), np.float32)])
    with pytest.raises(BadInput, match="batches of 1 only, not of 4"):
        measure(make_runner("b", batch=1), Protocol(batch=4))
    assert log == []


def test_the_batch_is_that_of_the_inputs(make_runner):
    assert measure(make_runner("a"), QUICK, [np.zeros((3, 8), np.float32)]).batch == 3
    assert measure(make_runner("a"), Protocol(batch=2, rounds=2, min_runs=2, min_seconds=0)).batch == 2


def test_memory_is_what_each_artifact_needed_wherever_its_turn(make_runner):
    runners = [
        make_runner("first", width=1 << 20),
        make_runner("small"),
        make_runner("second", width=1 << 20),
    ]
    measured = compare(runners, Protocol(rounds=2, min_runs=2, min_seconds=0))
    first, small, second = (measurement.peak_memory_mb for measurement in measured)
    # The matrix takes 33.6 MB and the output 4.2 MB (a second one while it is replaced); pages come and go around it.
    assert 36 <= first <= 46
    assert 36 <= second <= 46
    assert small < 4
