"""How budgets fall: from where the network is to the final ones, by each schedule."""

from __future__ import annotations

import dataclasses

import pytest
import tiny_networks

from edgepress import cost
from edgepress.compress._channels.schedule import budgets_after, is_within, left


def test_each_schedule_follows_its_formula() -> None:
    assert [left("linear", done, start=1, final=0.2) for done in (0.25, 0.5, 1)] == pytest.approx(
        [0.8, 0.6, 0.2]
    )
    assert [left("geometric", done, start=1, final=0.25) for done in (0.5, 1)] == pytest.approx([0.5, 0.25])
    cubic = [left("cubic", done, start=1, final=0.2) for done in (0.25, 0.5, 0.75, 1)]
    assert cubic == pytest.approx([1 - 0.8 * (1 - 0.75**3), 0.3, 1 - 0.8 * (1 - 0.25**3), 0.2])


@pytest.mark.parametrize("schedule", ["linear", "geometric", "cubic"])
def test_budgets_fall_from_what_the_network_is_to_what_was_asked_for(schedule: str) -> None:
    program = tiny_networks.capture(tiny_networks.Residual)
    original = cost.measure(program)
    finals = {"macs": 0.3, "size_bytes": original.weight_bytes // 4}
    values = [budgets_after(schedule, step / 4, finals, original, original) for step in range(5)]
    for name, first in (("macs", 1.0), ("size_bytes", original.weight_bytes)):
        row = [budgets[name] for budgets in values]
        assert row == sorted(row, reverse=True)
        assert (row[0], row[-1]) == (pytest.approx(first), finals[name])
    assert all(isinstance(budgets["size_bytes"], int) for budgets in values)


def test_a_network_that_was_pruned_before_starts_from_where_it_is() -> None:
    original = cost.measure(tiny_networks.capture(tiny_networks.Residual))
    now = dataclasses.replace(original, layers=original.layers[:1])
    share = now.macs / original.macs
    halfway = budgets_after("linear", 0.5, {"macs": share / 2}, now, original)
    assert halfway["macs"] == pytest.approx(0.75 * share)
    assert is_within({"macs": share}, now, original)
    assert not is_within({"macs": share, "parameters": 1e-9}, now, original)
