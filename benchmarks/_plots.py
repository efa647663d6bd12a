"""The charts of the report: each takes plain data and gives an inline SVG.

Bars begin at zero, and latencies do unless they span more than LOGARITHMIC_SPAN. Grey is always the original, colour what compression made of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edgepress.benchmarks import _numbers as numbers
from edgepress.benchmarks._svg import COMPRESSED, INK, MUTED, ORIGINAL, OTHER, PAPER, chart, inline

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MARKERS = "os^Dv<>P"
SHOWN_SAMPLES = 160
LOGARITHMIC_SPAN = 10
"""From this factor between the fastest and the slowest on, the faster ones would all lie at zero."""
NETWORK_COLOURS = {"original": ORIGINAL, "compressed": COMPRESSED}


@dataclass(frozen=True)
class Point:
    """One network on one runtime, as the scatter chart shows it."""

    network: str
    runtime: str
    latency_ms: float
    percent: float


@dataclass(frozen=True)
class Samples:
    """One row of the distribution chart."""

    network: str
    label: str
    latency_ms: tuple[float, ...]


@dataclass(frozen=True)
class Bar:
    network: str
    label: str
    value: float


@dataclass(frozen=True)
class LayerPair:
    """One layer before and after; None where it is not in that network any more (or not counted)."""

    name: str
    before: int | None
    after: int | None

    @property
    def largest(self) -> int:
        return max(self.before or 0, self.after or 0)


@dataclass(frozen=True)
class Line:
    """One file that ran on and on: of each window its beginning, its median, and whether the device was throttled."""

    network: str
    runtime: str
    start_s: tuple[float, ...]
    latency_ms: tuple[float, ...]
    throttled: tuple[bool, ...]


@dataclass(frozen=True)
class Span:
    """One stage on the clock."""

    name: str
    seconds: float


def accuracy_against_latency(points: Sequence[Point], measure: str) -> str:
    """Up and to the left is better; the line joins the points that no other beats in both."""
    runtimes = sorted({point.runtime for point in points})
    with chart(3.7) as (figure, axes):
        front = pareto_front(points)
        axes.plot(
            [point.latency_ms for point in front], [point.percent for point in front],
            color=MUTED, linewidth=1, linestyle=(0, (4, 3)), zorder=2,
        )  # fmt: skip
        for point in points:
            axes.plot(
                point.latency_ms, point.percent, MARKERS[runtimes.index(point.runtime) % len(MARKERS)],
                color=_colour(point.network), markersize=10, markeredgecolor=PAPER, markeredgewidth=1.2, clip_on=False, zorder=3,
            )  # fmt: skip
        latencies_ms = [point.latency_ms for point in points]
        _latency_axis(axes, "median latency", min(latencies_ms), max(latencies_ms))
        low, high = min(point.percent for point in points), max(point.percent for point in points)
        margin = max(0.15 * (high - low), 0.5)
        axes.set_ylim(low - margin, high + margin)
        axes.set_ylabel(f"{measure}, %")
        axes.grid(True)
        axes.spines[:].set_visible(False)
        _legend(axes, points, runtimes)
        return inline(
            figure, "pareto", "Accuracy against median latency, one mark for each network and runtime"
        )


def pareto_front(points: Sequence[Point]) -> list[Point]:
    """The points that no other beats in accuracy without being slower, from fast to slow."""
    front: list[Point] = []
    for point in sorted(points, key=lambda point: (point.latency_ms, -point.percent)):
        if not front or point.percent > front[-1].percent:
            front.append(point)
    return front


def latency_distributions(rows: Sequence[Samples]) -> str:
    """A box from quartile to quartile with the median, whiskers from the 5th to the 95th percentile, and samples."""
    with chart(0.7 + 0.46 * len(rows)) as (figure, axes):
        random = np.random.default_rng(0)
        for position, row in enumerate(rows):
            _distribution(axes, position, row, random)
        _named_rows(axes, [row.label for row in rows])
        edges_ms = np.array([np.percentile(row.latency_ms, (1, 99)) for row in rows])
        _latency_axis(axes, "latency", float(edges_ms.min()), float(edges_ms.max()))
        return inline(figure, "latency", "Distribution of the latencies of each network on each runtime")


def file_sizes(rows: Sequence[Bar]) -> str:
    """One bar a file; the values are bytes."""
    with chart(0.6 + 0.36 * len(rows)) as (figure, axes):
        for position, row in enumerate(rows):
            axes.barh(position, row.value / 1e6, height=0.62, color=_colour(row.network))
            _value_behind(axes, row.value / 1e6, position, numbers.size(row.value))
        _named_rows(axes, [row.label for row in rows])
        axes.set_xlim(0, max(row.value for row in rows) / 1e6 * 1.2)
        axes.set_xlabel("MB")
        return inline(figure, "sizes", "Size of each file")


def layer_costs(layers: Sequence[LayerPair], name: str, quantity: str) -> str:
    """Two bars a layer, before and after, in the order of the network; the values are counts of `quantity`."""
    with chart(0.9 + 0.25 * len(layers)) as (figure, axes):
        step, prefix = (
            (1e6, "million ") if max(layer.largest for layer in layers) >= 1e6 else (1e3, "thousand ")
        )
        positions = np.arange(len(layers))
        for offset, colour, label, values in (
            (-0.19, ORIGINAL, "original", [layer.before for layer in layers]),
            (0.19, COMPRESSED, "compressed", [layer.after for layer in layers]),
        ):
            widths = [(value or 0) / step for value in values]
            axes.barh(positions + offset, widths, 0.36, color=colour, label=label)
        _named_rows(axes, [layer.name for layer in layers])
        axes.tick_params(axis="y", labelsize=8)
        axes.set_xlabel(prefix + quantity)
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
        return inline(figure, name, f"{quantity} of each layer before and after compression")


def kept_speed(lines: Sequence[Line]) -> str:
    """Each file's windows, as multiples of its first; a cross where the device said that it was throttled."""
    runtimes = sorted({line.runtime for line in lines})
    with chart(3.1) as (figure, axes):
        for line in lines:
            colour, marker = _colour(line.network), MARKERS[runtimes.index(line.runtime) % len(MARKERS)]
            relative = np.asarray(line.latency_ms) / line.latency_ms[0]
            axes.plot(
                line.start_s, relative, marker=marker, markersize=4, linewidth=1.2, color=colour, zorder=3
            )
            hot = np.asarray(line.throttled)
            axes.plot(np.asarray(line.start_s)[hot], relative[hot], "x", color=INK, markersize=9, zorder=4)
        axes.set_ylim(0, 1.15 * max(max(line.latency_ms) / line.latency_ms[0] for line in lines))
        axes.set_xlabel("seconds since the first window")
        axes.set_ylabel("latency, × the first window")
        axes.grid(True)
        axes.spines[:].set_visible(False)
        _legend(axes, lines, runtimes)
        return inline(figure, "sustained", "Latency of each file while it runs on and on, window by window")


def timeline(spans: Sequence[Span]) -> str:
    """The stages one after the other, each as long as it took."""
    with chart(0.6 + 0.36 * len(spans)) as (figure, axes):
        ends = np.cumsum([span.seconds for span in spans])
        for position, (span, end) in enumerate(zip(spans, ends, strict=True)):
            axes.barh(position, span.seconds, left=end - span.seconds, height=0.62, color=COMPRESSED)
            _value_behind(axes, float(end), position, numbers.seconds(span.seconds))
        _named_rows(axes, [span.name for span in spans])
        axes.set_xlim(0, float(ends[-1]) * 1.18 or 1.0)
        axes.set_xlabel("seconds since the start")
        return inline(figure, "timeline", "When each stage ran and for how long")


def _distribution(axes: Axes, position: int, row: Samples, random: np.random.Generator) -> None:
    samples, colour = np.asarray(row.latency_ms), _colour(row.network)
    low, first, median, third, high = np.percentile(samples, (5, 25, 50, 75, 95))
    shown = samples[np.linspace(0, len(samples) - 1, min(len(samples), SHOWN_SAMPLES)).astype(int)]
    axes.plot(
        shown, position + random.uniform(-0.26, 0.26, len(shown)), ".",
        color=colour, markersize=3.5, alpha=0.35, markeredgewidth=0, zorder=2,
    )  # fmt: skip
    axes.plot([low, high], [position, position], color=colour, linewidth=1.4, zorder=3)
    axes.barh(position, third - first, left=first, height=0.44, color=colour, alpha=0.85, zorder=4)
    axes.plot([median, median], [position - 0.3, position + 0.3], color=INK, linewidth=2, zorder=5)


def _latency_axis(axes: Axes, title: str, least_ms: float, most_ms: float) -> None:
    """From zero; or logarithmic, and so labelled, where the latencies are too far apart for that."""
    if most_ms <= LOGARITHMIC_SPAN * least_ms:
        axes.set_xlim(0, most_ms * 1.08)
        axes.set_xlabel(f"{title}, ms")
        return
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axes.set_xscale("log")
    axes.set_xlim(least_ms / 1.3, most_ms * 1.3)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_xlabel(f"{title}, ms (logarithmic)")


def _value_behind(axes: Axes, end: float, position: int, text: str) -> None:
    axes.annotate(
        text, (end, position), (5, 0), textcoords="offset points", va="center", color=INK, fontsize=9
    )


def _named_rows(axes: Axes, names: Sequence[str]) -> None:
    """Rows from top to bottom, each named on the left; lines only for the values."""
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(axis="y", labelcolor=INK)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(True, axis="x")
    axes.spines[:].set_visible(False)


def _legend(axes: Axes, points: Sequence[Point | Line], runtimes: Sequence[str]) -> None:
    """Colours for the networks, shapes for the runtimes."""
    from matplotlib.lines import Line2D

    networks = list(dict.fromkeys(point.network for point in points))
    entries = [
        Line2D([], [], marker="s", linestyle="", markersize=8, color=_colour(name), label=name)
        for name in networks
    ]
    entries += [
        Line2D([], [], marker=MARKERS[index % len(MARKERS)], linestyle="", markersize=8, color="none",
               markeredgecolor=MUTED, label=name)
        for index, name in enumerate(runtimes)
    ]  # fmt: skip
    axes.figure.legend(
        handles=entries, loc="outside upper left", ncols=min(len(entries), 5), handletextpad=0.2
    )


def _colour(network: str) -> str:
    return NETWORK_COLOURS.get(network, OTHER)
