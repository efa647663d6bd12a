"""The report: one HTML page about a run folder that needs no network, no scripts and no other file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgepress import __version__, plugins
from edgepress.benchmarks import _numbers as numbers
from edgepress.benchmarks._run_folder import RunFolder
from edgepress.errors import BadInput
from edgepress.files import write_text

if TYPE_CHECKING:
    from jinja2 import Environment as Templates

REPORT_FILE, PICTURE_FILE = "report.html", "report.svg"
SHORT_HASH = 12
PACKAGES, EXTRA = ("jinja2", "matplotlib"), "report"
"""What writing a report imports, and the extra of ours that installs it."""


def write(folder: Path) -> Path:
    """Write `report.html` into the run folder and return its path.

    Raises BadInput for a folder with nothing to report, BackendMissing without the `report` extra.
    """
    plugins.require(*PACKAGES, extra=EXTRA)
    from edgepress.benchmarks._page import page

    run = RunFolder.read(Path(folder))
    template = _templates().get_template("report.html")
    path = run.folder / REPORT_FILE
    write_text(path, template.render(page=page(run), version=__version__))
    return path


def picture(folder: Path) -> Path:
    """Write the chart of accuracy against latency beside the report, as `report.svg`. Raises what `write` raises,
    BadInput where no latency or no accuracy was measured."""
    plugins.require(*PACKAGES, extra=EXTRA)
    from edgepress.benchmarks._page import page
    from edgepress.benchmarks._svg import on_white

    run = RunFolder.read(Path(folder))
    chart = page(run).charts.get("pareto", "")
    if not chart:
        raise BadInput(
            "There is no chart of accuracy against latency.",
            where=str(folder),
            hint="edgepress benchmark with --data that has labels",
        )
    path = run.folder / PICTURE_FILE
    write_text(path, on_white(chart))
    return path


def _templates() -> Templates:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    here = FileSystemLoader(Path(__file__).parent)
    templates = Environment(
        loader=here, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    for kind in ("count", "size", "milliseconds", "percent", "times", "points", "seconds"):
        templates.filters[kind] = _exact(getattr(numbers, kind))
    templates.filters["plain"] = _plain
    templates.filters["short_hash"] = lambda digest: digest[:SHORT_HASH]
    return templates


def _exact(write_number: Callable[[float], str]) -> Callable[[float | None], Any]:
    """The number as people read it, in a <data> element that carries it as it is."""
    from markupsafe import Markup

    def shown(value: float | None) -> Any:
        if value is None:
            return numbers.DASH
        return Markup('<data value="{}">{}</data>').format(repr(value), write_number(value))

    return shown


def _plain(value: Any) -> str:
    """An option or a result as text: numbers shortened, lists and tables as JSON."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: numbers.DASH}[value]
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
