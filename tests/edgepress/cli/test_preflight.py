"""What the target lacks is said before anything is trained: inspect's table, compress --for; convert writes what can be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tiny_networks

from edgepress.cli import run

UNSUPPORTED, FAILED = 3, 4

NETWORK = """
import torch

class Odd(torch.nn.Module):
    def forward(self, x):
        return torch.special.bessel_j0(x)

def network():
    layers = {"stem": torch.nn.Conv2d(3, 16, 3), "act": torch.nn.ReLU(), "odd": Odd(), "head": torch.nn.Conv2d(16, 4, 1)}
    net = torch.nn.Sequential()
    for name, layer in layers.items():
        net.add_module(name, layer)
    return net, (torch.zeros(2, 3, 8, 8),)
"""


@pytest.fixture(autouse=True)
def _user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.py").write_text(NETWORK)
    monkeypatch.chdir(tmp_path)


def test_compress_refuses_before_any_stage(capsys: pytest.CaptureFixture[str]) -> None:
    compress = ["compress", "mine.py:network", "--prune", "macs=0.6", "-o", "out"]
    assert run([*compress, "--for", "onnx"]) == UNSUPPORTED
    assert "layer odd (special_bessel_j0)" in capsys.readouterr().err
    assert not Path("out").exists()
    assert run([*compress, "--for", "onxn"]) == 2
    assert "Did you mean 'onnx'" in capsys.readouterr().err
    assert run(compress) == 0, "without a format, it is compressed"
    assert run([*compress, "--resume", "--for", "onnx"]) == UNSUPPORTED


@pytest.mark.tflite
def test_every_format_that_refuses_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    compress = ["compress", "mine.py:network", "--prune", "macs=0.6", "-o", "out"]
    assert run([*compress, "--for", "onnx,epz,tflite"]) == UNSUPPORTED
    told = capsys.readouterr().err
    assert "2 of the formats refuse this network: onnx, tflite." in told
    assert "onnx: ONNX has no operator for" in told
    assert "\n         tflite: " in told
    assert told.count("layer odd (special_bessel_j0)") == 2


def test_inspect_prints_every_operator_by_format(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["inspect", "mine.py:network", "--to", "onnx"]) == 0
    lines = capsys.readouterr().out.splitlines()
    cells = [[cell.strip() for cell in line.strip("│").split("│")] for line in lines if line.startswith("│")]
    assert {tuple(row) for row in cells} >= {("conv2d", "2", "yes"), ("special_bessel_j0", "1", "no (1)")}
    (told,) = (line for line in lines if line.startswith("onnx"))
    assert "layer odd (special_bessel_j0): ONNX has no operator for" in told


def test_inspect_tells_programs(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["inspect", "mine.py:network", "--to", "onnx", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["formats"]["onnx"].startswith("ONNX has no operator")
    assert [place["layer"] for place in told["unsupported"]["onnx"]] == ["odd"]
    assert told["operators"] == {"conv2d": 2, "relu": 1, "special_bessel_j0": 1}


def test_inspect_asks_no_further_where_a_package_is_missing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgepress.convert.program_to_onnx import ProgramToOnnx

    monkeypatch.setattr(ProgramToOnnx, "requires", classmethod(lambda cls: ("not_installed",)))
    assert run(["inspect", "mine.py:network", "--to", "onnx"]) == 0
    out = capsys.readouterr().out
    assert "?" in out
    assert "The package 'not_installed' is not installed" in out


def test_inspect_claims_nothing_of_a_format_that_learns_by_trying(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgepress.convert import Converter
    from edgepress.convert.program_to_onnx import ProgramToOnnx

    monkeypatch.setattr(ProgramToOnnx, "unsupported", Converter.unsupported)
    assert run(["inspect", "mine.py:network", "--to", "onnx"]) == 0
    out = capsys.readouterr().out
    assert "yes?" in out
    assert "as far as can be told without writing the file" in out


@pytest.mark.tflite
def test_a_format_that_refuses_keeps_no_other_from_being_written(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["convert", "mine.py:network", "--to", "onnx,epz,tflite", "-o", "out"]) == UNSUPPORTED
    told = capsys.readouterr()
    assert "out/model.epz" in told.out
    assert "passed" in told.out
    assert "Of the files asked for, epz is written, not onnx, tflite." in told.err
    assert "onnx: ONNX has no operator for" in told.err
    assert told.err.count("layer odd (special_bessel_j0)") == 2
    assert sorted(path.name for path in Path("out").iterdir()) == ["model.epz", "model.epz.manifest.json"]


def test_where_no_format_takes_the_network_nothing_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["convert", "mine.py:network", "--to", "onnx", "-o", "out"]) == UNSUPPORTED
    assert capsys.readouterr().err.startswith("edgepress: ONNX has no operator for")
    assert not Path("out").exists()


def test_what_a_tool_learns_by_trying_keeps_no_other_from_being_written(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first format fails at its writing, where what stands behind it has yet to be written."""
    from edgepress.convert import Converter
    from edgepress.convert.program_to_onnx import ProgramToOnnx

    monkeypatch.setattr(ProgramToOnnx, "unsupported", Converter.unsupported)
    assert run(["convert", "mine.py:network", "--to", "onnx,epz", "-o", "out"]) == UNSUPPORTED
    assert "epz is written, not onnx." in capsys.readouterr().err
    assert Path("out/model.epz").exists()
    assert not Path("out/model.onnx").exists()


def test_a_pipeline_writes_every_format_it_was_asked_for(tmp_path: Path) -> None:
    from edgepress.cli._conversion import convert_all

    program = tiny_networks.capture(tiny_networks.Residual)
    made = convert_all(program, {format: tmp_path / f"model.{format}" for format in ("onnx", "epz")})
    assert [artifact.format for artifact in made] == ["onnx", "epz"]


def test_files_that_failed_are_the_worse_news(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgepress.runtime import Comparison

    monkeypatch.setattr(Comparison, "within", lambda *given: False)
    assert run(["convert", "mine.py:network", "--to", "onnx,epz", "-o", "out"]) == FAILED
    told = capsys.readouterr().err
    assert "epz is written, not onnx." in told
    assert "1 of 1 files failed their verification" in told
