"""`edgepress sensitivity`: what it prints, what it leaves, and that it goes on after an interruption."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgepress import compress
from edgepress.cli import run
from edgepress.sensitivity import Sensitivity

USER_FILE = """
import tiny_networks, torch

def network():
    torch.manual_seed(0)
    return tiny_networks.Residual(), (torch.zeros(2, 3, 16, 16),)

def nothing_prunable():
    return torch.nn.Linear(4, 4), (torch.zeros(2, 4),)

def data():
    return [(batch.inputs[0], batch.labels) for batch in tiny_networks.Patches(64).batches("train", None)]

def unlabelled():
    return [(batch.inputs[0],) for batch in tiny_networks.Patches(64).batches("train", None)]
"""


def arguments(user: Path, folder: Path, *more: str) -> list[str]:
    return ["sensitivity", f"{user}:network", "--data", f"{user}:data", "-o", str(folder), *more]


def test_prints_a_table_and_leaves_results_and_a_plot(
    user: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments(user, tmp_path, "--ratios", "0.5")) == 0
    shown = capsys.readouterr().out
    found = Sensitivity.load(tmp_path)
    assert "top-1 without 50%" in shown
    for part in found.parts:
        assert part.name in shown
        assert [trial.ratio for trial in part.trials] == [0.5]
    pytest.importorskip("matplotlib")
    plot = (tmp_path / "sensitivity.svg").read_text()
    assert plot.startswith("<svg")
    assert "var(--" not in plot, "a file of its own knows no style sheet"
    for part in found.parts:
        assert part.layers[0] in plot


def test_prints_json_and_needs_no_folder(user: Path, capsys: pytest.CaptureFixture[str]) -> None:
    without_folder = [*arguments(user, Path("unused"), "--ratios", "0.5", "--json")]
    del without_folder[4:6]
    assert run(without_folder) == 0
    assert len(json.loads(capsys.readouterr().out)["parts"]) == 2


def test_an_interrupted_scan_goes_on(
    user: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = compress.scan_channels

    def interrupted(*positional: Any, **named: Any) -> Iterator[Sensitivity]:
        for step, found in enumerate(whole(*positional, **named)):
            yield found
            if step == 1:
                raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(compress, "scan_channels", interrupted)
        assert run(arguments(user, tmp_path)) == 130
    assert "goes on from it" in capsys.readouterr().err
    kept = Sensitivity.load(tmp_path)
    assert sum(len(part.trials) for part in kept.parts) == 1
    assert run(arguments(user, tmp_path)) == 0
    finished = Sensitivity.load(tmp_path)
    assert finished.parts[0].trials[0] == kept.parts[0].trials[0]
    assert all(len(part.trials) == 3 for part in finished.parts)


def test_stops_when_the_time_is_over(user: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments(user, tmp_path, "--max-seconds", "0.000001")) == 0
    assert "goes on from here" in capsys.readouterr().err
    assert sum(len(part.trials) for part in Sensitivity.load(tmp_path).parts) == 1


def test_results_of_another_scan_are_not_mixed(
    user: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments(user, tmp_path, "--ratios", "0.5")) == 0
    other = arguments(user, tmp_path, "--ratios", "0.5", "--criterion", "l1")
    assert run(other) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert run([*other, "--overwrite"]) == 0
    assert Sensitivity.load(tmp_path).question.options["criterion"] == "l1"


@pytest.mark.parametrize(
    ("changes", "code", "said"),
    [
        (["--ratios", "1.5"], 2, "less than 1"),
        (["--ratios", "0"], 2, "greater than 0"),
        (["--ratios", "nan"], 2, "ratios"),
        (["--ratios", "half"], 2, "ratios"),
        (["--ratios", ""], 2, "ratios"),
        (["--criterion", "l7"], 2, "criterion"),
        (["--suggest", "macs=2"], 2, "less than 1"),
        (["--suggest", "mac=0.5"], 2, "macs"),
        (["--samples", "0"], 2, "--samples"),
        (["--split", "test"], 2, "--split"),
        (["--data", "USER:unlabelled"], 2, "needs labels"),
        (["--data", "digits"], 2, "10 classes"),
    ],
)
def test_bad_input(
    changes: list[str],
    code: int,
    said: str,
    user: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    changes = [text.replace("USER", str(user)) for text in changes]
    assert run(arguments(user, tmp_path / "out", *changes)) == code
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_no_data(user: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["sensitivity", f"{user}:network"]) == 2
    assert "--data" in capsys.readouterr().err


def test_nothing_prunable(user: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["sensitivity", f"{user}:nothing_prunable", "--data", f"{user}:data"]) == 3
    assert "No channel of this network can be removed" in capsys.readouterr().err


def test_broken_results_are_told(user: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "sensitivity.json").write_text("{")
    assert run(arguments(user, tmp_path)) == 2
    assert "cannot be read" in capsys.readouterr().err


def test_suggests_a_recipe_that_compress_takes(
    user: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments(user, tmp_path, "--ratios", "0.75", "--suggest", "macs=0.6")) == 0
    recipe = (tmp_path / "recipe.yaml").read_text()
    assert recipe in capsys.readouterr().out
    out = str(tmp_path / "out")
    assert run(["compress", f"{user}:network", "-r", str(tmp_path / "recipe.yaml"), "-o", out]) == 0
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert result["compressed"]["macs"] <= 0.6 * result["original"]["macs"]


def test_quantizing_each_layer_alone_prints_saves_and_draws(
    user: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments(user, tmp_path, "--quantize", "int8,samples=32", "--samples", "32")) == 0
    shown = capsys.readouterr().out
    found = json.loads((tmp_path / "quantization_sensitivity.json").read_text())
    assert [one["layer"] for one in found["layers"]] == ["stem", "first", "second", "head"]
    for one in found["layers"]:
        assert one["layer"] in shown
        assert 25 < one["layer_sqnr_db"] < 60, "8 bits"
        assert one["accuracy"]["samples"] == 32
    pytest.importorskip("matplotlib")
    drawn = (tmp_path / "quantization_sensitivity.svg").read_text()
    assert all(text in drawn for text in ("second", "of the network's output", "top-1, %"))


def test_fewer_bits_cost_more_alone(user: Path, tmp_path: Path) -> None:
    worst = []
    for scheme in ("int8", "w4a8"):
        options = f"{scheme},samples=16"
        assert run(arguments(user, tmp_path, "--quantize", options, "--samples", "16")) == 0
        found = json.loads((tmp_path / "quantization_sensitivity.json").read_text())
        worst.append(min(one["network_sqnr_db"] for one in found["layers"]))
    assert worst[1] < worst[0] - 10, "each bit is 6 dB"


def test_options_of_a_quantization_are_checked(user: Path, tmp_path: Path) -> None:
    assert run(arguments(user, tmp_path, "--quantize", "int3")) == 2
