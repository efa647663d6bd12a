"""How a budget of latency was met: what was predicted in each round, what was measured, and which round was taken."""

from __future__ import annotations

from dataclasses import dataclass

from edgepress.compress._channels.latency_budget import LatencyBudget
from edgepress.history import Value
from edgepress.stopwatch import LatencyRatio


@dataclass(frozen=True, kw_only=True)
class Timing:
    """The latency of one plan's network over the original's: by the table of single layers alone, as predicted
    with what the rounds before have corrected, and as measured."""

    table: float
    predicted: float
    measured: LatencyRatio


@dataclass(frozen=True, kw_only=True)
class LatencyReport:
    """All rounds in order; the plan is that of round `taken`."""

    budget: LatencyBudget
    rounds: tuple[Timing, ...]
    taken: int

    @property
    def timing(self) -> Timing:
        return self.rounds[self.taken]

    def __str__(self) -> str:
        lines = [
            f"{timing.measured.quantity} on {self.budget.target}, round {number}: {timing.predicted:.3f} predicted, {_text(timing.measured)}"
            for number, timing in enumerate(self.rounds, 1)
        ]
        return "\n".join(
            [
                *lines,
                f"{self.timing.measured.quantity} {_text(self.timing.measured)}, budget {self.budget.share:g}",
            ]
        )

    def results(self) -> Value:
        """As result.json has it; shares are of the original network's latency."""
        measured = self.timing.measured
        return {
            "target": self.budget.target,
            "budget": self.budget.share,
            f"original_{measured.unit}": measured.original_cost,
            **_figures(self.timing),
            "rounds": [_figures(timing) for timing in self.rounds],
        }


def _figures(timing: Timing) -> dict[str, Value]:
    measured = timing.measured
    return {
        "table": timing.table,
        "predicted": timing.predicted,
        "measured": measured.value,
        "low": measured.low,
        "high": measured.high,
    }


def _text(measured: LatencyRatio) -> str:
    return f"{measured.value:.3f} measured ({measured.low:.3f} to {measured.high:.3f})"
