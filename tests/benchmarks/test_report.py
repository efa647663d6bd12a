"""The report page: its numbers, its warnings, and what it does when parts are missing."""

from __future__ import annotations

import re

import pytest

from edgepress.benchmarks import MEASUREMENTS_FILE, append, read, report
from edgepress.benchmarks._sustained import Window
from edgepress.errors import BadInput
from edgepress.scoring import MeanPrecision


def test_what_went_wrong_stands_on_top(run_folder):
    page = report.write(run_folder).read_text()
    assert "model.onnx failed its verification: do not ship it." in page
    assert "model.tflite was not verified: no runtime was there to run it." in page
    assert "1 of 3 measurements were disturbed" in page
    assert page.index("do not ship it") < page.index('id="comparison"')


def test_the_three_outcomes_of_a_verification_look_different(run_folder):
    page = report.write(run_folder).read_text()
    badges = dict(re.findall(r'<span class="badge (\w+)">([^<]+)</span>', page))
    assert badges == {"passed": "✓ passed", "failed": "✗ failed", "skipped": "skipped, not checked"}


def test_it_shows_every_chart_that_there_is_data_for(run_folder):
    page = report.write(run_folder).read_text()
    assert re.findall(r'<figure id="chart-(\w+)"', page) == [
        "pareto", "latency", "sizes", "timeline", "macs", "parameters",
    ]  # fmt: skip
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids)), "charts of one page must not share ids"


def test_it_refers_to_nothing_outside_of_itself(run_folder):
    page = report.write(run_folder).read_text()
    assert not re.search(r"""(src|href)=["'](?!#|data:)|url\((?!#)|@import|https?://|<script""", page)


def test_texts_from_files_are_escaped(run_folder):
    page = report.write(run_folder).read_text()
    assert "&lt;no runtime&gt;" in page
    assert "<no runtime>" not in page


@pytest.mark.parametrize("missing", ["result.json", MEASUREMENTS_FILE, "recipe.yaml", "*.manifest.json"])
def test_any_part_may_be_missing(run_folder, missing):
    for path in run_folder.glob(missing):
        path.unlink()
    page = report.write(run_folder).read_text()
    assert "</html>" in page
    assert ('id="comparison"' in page) == (missing != MEASUREMENTS_FILE)
    assert ("chart-timeline" in page) == (missing != "result.json")


def test_a_single_measurement_is_enough(tmp_path, make_measurement):
    append(tmp_path / MEASUREMENTS_FILE, [make_measurement([1.0, 1.5])])
    page = report.write(tmp_path).read_text()
    assert re.findall(r'<figure id="chart-(\w+)"', page) == ["latency", "sizes"]


def test_a_network_without_counted_operations_has_no_ratio_of_them(run_folder):
    text = (run_folder / "result.json").read_text()
    (run_folder / "result.json").write_text(re.sub(r'"(macs|parameters)": \d+', r'"\1": 0', text))
    page = report.write(run_folder).read_text()
    assert ">File<" in page
    assert ">Parameters<" not in page


def test_unknown_accuracy_is_a_warning(run_folder):
    text = (run_folder / "result.json").read_text()
    (run_folder / "result.json").write_text(
        re.sub(r'"accuracy": \{\s+"top1"[^}]*\}', '"accuracy": null', text)
    )
    assert "Accuracy was not measured" in report.write(run_folder).read_text()


def test_a_file_that_is_not_the_one_described_is_named(run_folder):
    (run_folder / "model.onnx").write_bytes(b"another")
    assert "does not match its manifest" in report.write(run_folder).read_text()


def test_folders_that_cannot_be_reported(tmp_path):
    with pytest.raises(BadInput, match="contains nothing to report"):
        report.write(tmp_path)
    with pytest.raises(BadInput, match="There is no folder 'none'"):
        report.write(tmp_path / "none")


def test_measured_numbers_keep_all_their_digits(run_folder):
    page = report.write(run_folder).read_text()
    for measurement in read(run_folder / MEASUREMENTS_FILE):
        assert f'<data value="{measurement.median_ms!r}">' in page
        assert f'<data value="{measurement.p90_ms!r}">' in page


def test_the_picture_stands_by_itself(run_folder, tmp_path):
    text = report.picture(run_folder).read_text()
    assert text.startswith("<svg xmlns=")
    assert "var(--" not in text
    assert "top-1" in text
    with pytest.raises(BadInput):
        report.picture(tmp_path)


def test_a_detectors_page_names_its_own_measure(run_folder, tmp_path, make_measurement):
    score = MeanPrecision(map=31.0, map50=52.0, samples=50)
    append(tmp_path / MEASUREMENTS_FILE, [make_measurement([1.0, 1.1, 0.9] * 20, accuracy=score)])
    page = report.write(tmp_path).read_text()
    assert "mAP %" in page
    assert "top-1" not in page


def test_what_ran_on_and_on_is_drawn_with_what_the_device_told(tmp_path, make_measurement):
    windows = (
        Window(start_s=0.0, runs=100, median_ms=2.0, clock_mhz=2400.0, temperature_c=50.0, throttled=False),
        Window(start_s=30.0, runs=90, median_ms=3.0, clock_mhz=1500.0, temperature_c=84.6, throttled=True),
    )
    silent = tuple(Window(start_s=window.start_s, runs=9, median_ms=1.0) for window in windows)
    told, untold = (
        make_measurement([1.0, 2.0, 3.0], runner=runner, sustained=each)
        for runner, each in (("hot", windows), ("silent", silent))
    )
    append(tmp_path / MEASUREMENTS_FILE, [told, untold, make_measurement([1.0], runner="short")])
    page = report.write(tmp_path).read_text()
    table = page[page.index('id="endurance"') :].partition("</table>")[0]
    rows = [re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row) for row in table.split("<tr>")[2:]]
    plain = [[re.sub("<[^>]*>", "", cell) for cell in row] for row in rows]
    hot, quiet = sorted(plain)
    assert hot[1:] == ["30 s", "2.00", "3.00", "1.50", "2400 to 1500 MHz", "50 to 85 °C", "1 of 2 windows"]
    assert quiet[4:] == ["1.00", "–", "–", "–"]
    assert 'id="chart-sustained"' in page


def test_without_running_on_and_on_there_is_no_such_part(run_folder):
    assert 'id="endurance"' not in report.write(run_folder).read_text()
