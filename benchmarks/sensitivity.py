"""Draws a sensitivity scan: for each group of layers the accuracy at each ratio, or what quantizing each alone costs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgepress import plugins
from edgepress.benchmarks._svg import COMPRESSED, INK, MUTED, OTHER, chart, standalone
from edgepress.files import write_text
from edgepress.sensitivity import Part, QuantizationSensitivity, Sensitivity

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PLOT_FILE = "sensitivity.svg"
QUANTIZATION_PLOT_FILE = "quantization_sensitivity.svg"
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
            found.reference.percent,
            color=MUTED,
            linewidth=1,
            linestyle=(0, (4, 3)),
            label="the whole network",
        )
        for place, ratio in enumerate(found.ratios()):
            _marks(axes, found, ratio, strength=(place + 1) / len(found.ratios()))
        _name_rows(axes, [_label(part) for part in found.parts])
        axes.set_xlabel(f"top-1 on {found.original.samples:,} samples of {found.question.split}, %")
        figure.legend(loc="outside upper right", ncols=4, columnspacing=1, handletextpad=0.3)
        description = "Accuracy of the network when each group of channels alone is pruned, by each ratio"
        write_text(path, standalone(figure, "sensitivity", description))
    return path


def draw_quantization(found: QuantizationSensitivity, folder: Path) -> Path:
    """Write `quantization_sensitivity.svg` into the folder and return its path: layers from the input to the output,
    with the SQNR of the layer's own output and of the network's, and on an axis above them the accuracy, where the data
    has labels.

    Raises BackendMissing without the `report` extra.
    """
    plugins.require(*PACKAGES, extra=EXTRA)
    path = folder / QUANTIZATION_PLOT_FILE
    rows = range(len(found.layers))
    with chart(1.1 + 0.24 * len(found.layers)) as (figure, axes):
        for values, color, label in (
            ([layer.layer_sqnr_db for layer in found.layers], MUTED, "of the layer's output"),
            ([layer.network_sqnr_db for layer in found.layers], COMPRESSED, "of the network's output"),
        ):
            axes.plot(values, rows, "o", color=color, markersize=6, markeredgewidth=0, label=label)
        _name_rows(axes, [layer.layer for layer in found.layers])
        axes.set_xlabel(f"SQNR on {found.samples:,} samples of {found.split}, dB")
        _mark_accuracies(axes, found)
        figure.legend(loc="outside upper right", ncols=3, columnspacing=1, handletextpad=0.3)
        description = "Signal to quantization noise, and accuracy, when each layer alone is quantized"
        write_text(path, standalone(figure, "quantization sensitivity", description))
    return path


def _marks(axes: Axes, found: Sensitivity, ratio: float, *, strength: float) -> None:
    """The larger the ratio, the stronger the colour."""
    trials = [(row, part.trial(ratio)) for row, part in enumerate(found.parts)]
    tried = [(trial.accuracy.percent, row) for row, trial in trials if trial is not None]
    axes.plot(
        [top1 for top1, _ in tried], [row for _, row in tried], "o",
        color=COMPRESSED, alpha=0.2 + 0.8 * strength, markersize=6, markeredgewidth=0, label=f"without {ratio:.0%}",
    )  # fmt: skip


def _mark_accuracies(axes: Axes, found: QuantizationSensitivity) -> None:
    """Of the layers that have one, and a line where the float network's is."""
    marks = [(one.accuracy.percent, row) for row, one in enumerate(found.layers) if one.accuracy is not None]
    if found.original is None or not marks:
        return
    above = axes.twiny()
    above.axvline(found.original.percent, color=OTHER, linewidth=1, linestyle=(0, (4, 3)))
    above.plot(
        [percent for percent, _ in marks], [row for _, row in marks], "d",
        color=OTHER, markersize=5, markeredgewidth=0, label=f"{found.original.name}, %",
    )  # fmt: skip
    above.set_xlabel(f"{found.original.name}, % (line: in float)")
    above.spines[:].set_visible(False)


def _name_rows(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(axis="y", labelcolor=INK, labelsize=8)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(True)
    axes.spines[:].set_visible(False)


def _label(part: Part) -> str:
    """The first layer and how many more: a residual stage is made by a dozen."""
    first, *others = part.layers
    more = f" and {len(others)} more" if others else ""
    return f"{first}{more} ({part.channels})"
