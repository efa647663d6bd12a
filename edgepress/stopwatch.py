"""What a stage may ask about speed: how long single layers take on a target, and one network beside another.

Compression imports neither converters nor runtimes. Whoever composes everything hands it a Stopwatch
(edgepress/latency is the one there is), in the Context of its stages.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from edgepress.progress import Progress, silent

if TYPE_CHECKING:
    from edgepress.program import Program

Setting = int | bool | str | None | tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class LayerShape:
    """A convolution or linear layer without its numbers: all that its latency depends on.

    `operator` is the ATen operator as text (`aten.conv2d.default`), `input` the shape of what it reads at
    batch 1, `weight` that of its weight, `settings` the operator's other arguments by name.
    """

    operator: str
    input: tuple[int, ...]
    weight: tuple[int, ...]
    settings: tuple[tuple[str, Setting], ...] = ()


@dataclass(frozen=True, kw_only=True)
class LatencyRatio:
    """The latency of a network over that of the original, from interleaved runs, with its 95 % interval.

    `original_cost` is the original's own median at batch 1, in ms. Where the target is emulated and has no time,
    instructions stand in place of it all.
    """

    value: float
    low: float
    high: float
    original_cost: float
    unit: Literal["ms", "instructions"] = "ms"

    @property
    def quantity(self) -> str:
        """What it is a ratio of, in words."""
        return "latency" if self.unit == "ms" else "instructions"


class Stopwatch(Protocol):
    """Times what a stage makes on the target it is made for, as that target's runtime executes it.

    Targets are texts like `cpu:onnxruntime`.
    """

    def check(self, program: Program, target: str) -> None:
        """Raise UnknownName, BadOption, UnsupportedTarget, UnsupportedModel or BackendMissing when `program`
        cannot be timed there: called before any work."""

    def layer_costs(
        self, layers: Sequence[LayerShape], target: str, progress: Progress = silent
    ) -> tuple[float, ...]:
        """The latency of each layer alone, at batch 1, in the unit of `ratio`; what was measured before need not be measured again."""

    def ratio(
        self, original: Program, program: Program, target: str, progress: Progress = silent
    ) -> LatencyRatio:
        """Convert both, run both in turns, and compare them."""
