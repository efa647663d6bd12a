"""The comparison table: which network a row is about, and what it is compared with."""

from __future__ import annotations

import dataclasses

import pytest

from edgepress.benchmarks import MEASUREMENTS_FILE, comparison_table, read
from edgepress.result import RunResult


def test_rows_know_their_network_and_their_original(run_folder):
    measurements, result = read(run_folder / MEASUREMENTS_FILE), RunResult.load(run_folder)
    original, model, elsewhere = comparison_table(measurements, result).rows
    assert [row.network for row in (original, model, elsewhere)] == ["original", "compressed", "compressed"]
    assert (original.parameters, model.parameters) == (1000, 400)
    assert (original.macs, model.macs) == (3_000_100, 1_000_100)
    assert original.percent is None, "what the network scored in PyTorch is not what its ONNX file scored"
    assert model.percent == 97.5
    assert original.ratio.value == 1
    assert model.ratio.value == measurements[1].median_ms / measurements[0].median_ms
    assert model.ratio.paired
    assert elsewhere.ratio is None, "no original was measured on that runtime"


def test_cells_stand_under_their_columns(run_folder):
    table = comparison_table(read(run_folder / MEASUREMENTS_FILE), RunResult.load(run_folder))
    model = dict(zip(table.columns, table.cells()[1], strict=True))
    assert model["network"] == "compressed"
    assert model["top-1 %"] == "97.50"
    assert model["size"] == "1.50 kB"
    assert model["MACs"] == "1.00 M"
    assert float(model["× original"]) == pytest.approx(0.45, abs=0.02)
    assert table.cells()[2][-2:] == ("–", "–")


def test_only_the_newest_of_repeated_measurements_counts(make_measurement):
    first, again = make_measurement([5.0]), make_measurement([4.0])
    table = comparison_table([first, make_measurement([9.0], threads=2), again])
    assert [(row.threads, row.median_ms) for row in table.rows] == [(1, 4.0), (2, 9.0)]


def test_without_a_run_the_stages_name_the_network(make_measurement):
    pruned = make_measurement([1.0], path="b", steps=("prune_channels", "distill", "program_to_onnx"))
    (row,) = comparison_table([pruned]).rows
    assert row.network == "prune_channels + distill"
    assert (row.parameters, row.macs, row.ratio) == (None, None, None)


def test_files_of_which_nothing_else_is_known_bear_their_own_names(make_measurement):
    files = ["a/first.onnx", "a/second.onnx", "b/second.onnx"]
    measured = [make_measurement([1.0], path=path, name=path[2:], warnings=(f"{path}!",)) for path in files]

    table = comparison_table(measured)

    assert [row.network for row in table.rows] == ["first.onnx", "a/second.onnx", "b/second.onnx"]
    assert len(table.noise) == len(files)  # none hides another's
    assert [row.network for row in comparison_table(measured[:1]).rows] == ["original"]


def test_a_network_after_some_of_the_stages_has_the_figures_of_that_stage(run_folder, make_measurement):
    result = RunResult.load(run_folder)
    second = dataclasses.replace(result.stages[0], name="quantize_static", parameters=399)
    result = dataclasses.replace(result, stages=(*result.stages, second))
    halfway = make_measurement([1.0], steps=("prune_channels", "program_to_onnx"))
    (row,) = comparison_table([halfway], result).rows
    assert (row.network, row.parameters) == ("prune_channels", 400)


def test_findings_and_noise_are_said_once_with_all_their_rows(run_folder, make_measurement):
    result = RunResult.load(run_folder)
    facts = {"rounds": 2, "comparison": "one", "warnings": ("Shaky.",)}
    steps = ("prune_channels", "program_to_onnx")
    original = make_measurement([1.0, 1.1, 1.0, 1.1], path="a", cpu_ms=1.0, **facts)
    model = make_measurement([1.0, 1.1, 1.0, 1.1], path="b", cpu_ms=0.4, steps=steps, **facts)
    table = comparison_table([original, model], result)
    assert table.noise == ("Shaky: original on onnxruntime; compressed on onnxruntime.",)
    distorted, cost = table.findings
    assert distorted == (
        "Other work distorts this ratio of 1.00: by processor time it is 0.40: compressed on onnxruntime."
    )
    assert cost.startswith("MACs fell by 67% but latency did not: it is 1.00 times the original's")
