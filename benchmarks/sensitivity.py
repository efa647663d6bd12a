"""Draws a sensitivity scan: for each group of layers the accuracy at each ratio, beside the whole network's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgepress import plugins
from edgepress.benchmarks._svg import COMPRESSED, INK, MUTED, chart, standalone
from edgepress.files import write_text
from edgepress.sensitivity import Part, Sensitivity

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PLOT_FILE = "sensitivity.svg"
PACKAGES, EXTRA = ("matplotlib",), "report"
"""What drawing imports, and the extra of ours that installs it."""


def draw(found: Sensitivity, folder: Path) -> Path:
    """Write `sensitivity.svg` into the folder and return its path: groups from the input to the output, one mark a ratio.

    Raises BackendMissing without the `report` extra.
    """
    plugins.require(*PACKAGES, extra=EXTRA)
    path = folder / PLOT_FILE
    with chart(1.1 + 0.24 * len(found.parts)) as (figure, axes):
        axes.axvline(
            found.reference.top1, color=MUTED, linewidth=1, linestyle=(0, (4, 3)), label="the whole network"
        )
        for place, ratio in enumerate(found.ratios()):
            _marks(axes, found, ratio, strength=(place + 1) / len(found.ratios()))
        _rows(axes, found.parts)
        axes.set_xlabel(f"top-1 on {found.original.samples:,} samples of {found.question.split}, %")
        figure.legend(loc="outside upper right", ncols=4, columnspacing=1, handletextpad=0.3)
        description = "Accuracy of the network when each group of channels alone is pruned, by each ratio"
        write_text(path, standalone(figure, "sensitivity", description))
    return path


def _marks(axes: Axes, found: Sensitivity, ratio: float, *, strength: float) -> None:
    """The larger the ratio, the stronger the colour."""
    trials = [(row, part.trial(ratio)) for row, part in enumerate(found.parts)]
    tried = [(trial.accuracy.top1, row) for row, trial in trials if trial is not None]
    axes.plot(
        [top1 for top1, _ in tried], [row for _, row in tried], "o",
        color=COMPRESSED, alpha=0.2 + 0.8 * strength, markersize=6, markeredgewidth=0, label=f"without {ratio:.0%}",
    )  # fmt: skip


def _rows(axes: Axes, parts: Sequence[Part]) -> None:
    axes.set_yticks(range(len(parts)), [_label(part) for part in parts])
    axes.tick_params(axis="y", labelcolor=INK, labelsize=8)
    axes.set_ylim(len(parts) - 0.5, -0.5)
    axes.grid(True)
    axes.spines[:].set_visible(False)


def _label(part: Part) -> str:
    """The first layer and how many more: a residual stage is made by a dozen."""
    first, *others = part.layers
    more = f" and {len(others)} more" if others else ""
    return f"{first}{more} ({part.channels})"
