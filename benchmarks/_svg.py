"""How every chart looks, and how a figure becomes SVG inside of a page that may be light or dark."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, GRID = "#010101", "#020202", "#030303"
ORIGINAL, COMPRESSED, OTHER, PAPER = "#040404", "#050505", "#060606", "#070707"
VARIABLES = {
    INK: "--ink", MUTED: "--muted", GRID: "--line", ORIGINAL: "--original", COMPRESSED: "--compressed",
    OTHER: "--other", PAPER: "--paper",
}  # fmt: skip
"""Colours that no chart shows: each stands for the page's own, which differs between light and dark."""

STYLESHEET = Path(__file__).with_name("report.css")

WIDTH_INCHES = 5.4

STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "edgepress",
    "font.size": 10,
    "axes.labelsize": 9.5,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": GRID,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "legend.fontsize": 9,
}


@contextmanager
def chart(height_inches: float) -> Iterator[tuple[Figure, Axes]]:
    """An empty chart in the house style; everything that draws on it belongs inside of the `with`."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH_INCHES, height_inches), layout="constrained")
        yield figure, figure.add_subplot()


def inline(figure: Figure, name: str, description: str) -> str:
    """The figure as an <svg> element without a size of its own; `description` is read to those who cannot see it.

    `name` keeps the ids of several charts on one page apart. Call it inside of `chart`.
    """
    buffer = io.StringIO()
    figure.savefig(
        buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None}
    )
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r' (?:width|height)="[\d.]+pt"', "", text, count=2)
    text = re.sub(r' xmlns(?::xlink)?="[^"]*"', "", text)
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = text.replace("url(#", f"url(#{name}-").replace('xlink:href="#', f'href="#{name}-')
    for colour, variable in VARIABLES.items():
        text = text.replace(colour, f"var({variable})")
    label = html.escape(description, quote=True)
    return text.replace("<svg", f'<svg role="img" aria-label="{label}"', 1).strip()


def standalone(figure: Figure, name: str, description: str) -> str:
    """The same as a file of its own, on white. Call it inside of `chart`."""
    return on_white(inline(figure, name, description))


def on_white(svg: str) -> str:
    """A chart of the page as a file of its own, in the page's light colours."""
    text = svg
    for variable, colour in _light_colours().items():
        text = text.replace(f"var({variable})", colour)
    spaces = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    return text.replace("<svg", f'<svg {spaces} style="background: white"', 1) + "\n"


def _light_colours() -> dict[str, str]:
    """The report's own: the first that its style sheet names."""
    first = STYLESHEET.read_text(encoding="utf-8").partition("}")[0]
    return dict(re.findall(r"(--[\w-]+): (#[0-9a-f]{6});", first))
