"""The report as Chromium shows it: quiet, alone, within its window, and with the numbers of the files."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from edgepress.benchmarks import MEASUREMENTS_FILE, read, report
from edgepress.result import RunResult

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")

WIDTHS = (1280, 390)

PROBE = """
<!DOCTYPE html><body>{frames}<pre id="found"></pre><script>
addEventListener("load", () => {{
  const found = [...document.querySelectorAll("iframe")].map(frame => {{
    const page = frame.contentDocument, edge = frame.clientWidth;
    const scrolls = node => node.closest(".scroll, pre, svg");
    return {{
      width: edge,
      scroll_width: page.documentElement.scrollWidth,
      beyond: [...page.body.querySelectorAll("*")].filter(node => !scrolls(node) &&
        node.getBoundingClientRect().right > edge + 1).map(node => node.outerHTML.slice(0, 120)),
      cut: [...page.querySelectorAll("td, th, dt, dd, .tile p")].filter(node =>
        node.scrollWidth > node.clientWidth + 1 && !scrolls(node)).map(node => node.outerHTML.slice(0, 120)),
      resources: frame.contentWindow.performance.getEntriesByType("resource").map(entry => entry.name),
      comparison: [...page.querySelectorAll("#comparison tbody tr")].map(row => Object.fromEntries(
        [...row.children].map(cell => [cell.dataset.label,
          cell.querySelector("data") ? Number(cell.querySelector("data").value) : cell.textContent.trim()]))),
      tiles: [...page.querySelectorAll(".tile")].map(tile =>
        [...tile.querySelectorAll("data")].map(data => Number(data.value))),
    }};
  }});
  document.querySelector("#found").textContent = JSON.stringify(found);
}});
</script></body>
"""


@pytest.fixture
def seen(run_folder, tmp_path) -> list[dict]:
    """What a script in the page around it finds in the report, once for each of WIDTHS."""
    page = html.escape(report.write(run_folder).read_text(), quote=True)
    frames = "".join(
        f'<iframe style="width:{width}px;height:900px" srcdoc="{page}"></iframe>' for width in WIDTHS
    )
    probe = tmp_path / "probe.html"
    probe.write_text(PROBE.format(frames=frames), encoding="utf-8")
    shown = _chromium(probe, "--dump-dom").stdout
    (found,) = re.findall(r'<pre id="found">(.*?)</pre>', shown, re.DOTALL)
    return json.loads(html.unescape(found))


def test_nothing_reaches_beyond_the_window(seen):
    for view, width in zip(seen, WIDTHS, strict=True):
        assert view["scroll_width"] <= view["width"] <= width
        assert view["beyond"] == []
        assert view["cut"] == [], "a cell must not run over its neighbour"


def test_the_numbers_shown_are_those_of_the_files(seen, run_folder):
    result, measurements = RunResult.load(run_folder), read(run_folder / MEASUREMENTS_FILE)
    for view in seen:
        assert len(view["comparison"]) == len(measurements)
        for row, measurement in zip(view["comparison"], measurements, strict=True):
            facts = result.original if measurement.is_original else result.compressed
            assert row["network"] == ("original" if measurement.is_original else "compressed")
            assert row["runtime"] == measurement.runner
            assert row["size"] == measurement.size_bytes
            assert row["median ms"] == measurement.median_ms
            assert row["p90 ms"] == measurement.p90_ms
            assert (row["parameters"], row["MACs"]) == (facts.parameters, facts.macs)
            assert row["top-1 %"] == (measurement.accuracy.top1 if measurement.accuracy else "–")
        assert view["comparison"][1]["× original"] == measurements[1].median_ms / measurements[0].median_ms
        change, before, after = view["tiles"][0]
        assert (before, after) == (result.original.accuracy.top1, result.compressed.accuracy.top1)
        assert change == after - before


def test_it_loads_nothing_and_the_console_stays_silent(seen, run_folder):
    assert [view["resources"] for view in seen] == [[], []]
    assert _console(report.write(run_folder)) == []


def test_the_page_forbids_itself_to_load_anything(run_folder):
    page = report.write(run_folder)
    page.write_text(page.read_text().replace("</main>", '<img src="https://example.invalid/x.png"></main>'))
    assert any("Content Security Policy" in line for line in _console(page))


def _console(page: Path) -> list[str]:
    lines = _chromium(page, "--dump-dom", "--enable-logging=stderr").stderr.splitlines()
    return [line for line in lines if "CONSOLE" in line]


def _chromium(page: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--window-size=1800,1200",
         "--virtual-time-budget=2000", *flags, page.as_uri()],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
