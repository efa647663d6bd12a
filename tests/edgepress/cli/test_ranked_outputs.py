"""Detectors that put their boxes in the order of scores: a rounding swaps rows, and what is found decides."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from edgepress import compress, convert
from edgepress.artifact import Artifact
from edgepress.cli import _conversion, run
from edgepress.compress.quantize_static import QuantizeStatic
from edgepress.data._arrays import ArrayData
from edgepress.detection import Listed
from edgepress.program import Program
from edgepress.recipe import Recipe

SIDE, BOX, STEP, FOUND = 32, 8, 4, 12
FAILED = 4


class BrightSquares(nn.Module):
    """N x 1 x 32 x 32 to the brightest squares of 8 x 8 pixels, as boxes, scores and classes."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = nn.Conv2d(1, 1, BOX, STEP)
        nn.init.constant_(self.seen.weight, 8 / BOX**2)
        nn.init.constant_(self.seen.bias, -4)
        corners = torch.arange(0.0, SIDE - BOX + 1, STEP)
        corner = torch.stack(torch.meshgrid(corners, corners, indexing="xy"), 2).flatten(0, 1)
        self.register_buffer("boxes", torch.cat((corner, corner + BOX), 1))
        self.reading = Listed()

    def forward(self, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        scores = self.seen(pictures).flatten(1).sigmoid()
        ranked, places = torch.sort(scores, dim=1, descending=True, stable=True)
        places = places[:, :FOUND].unsqueeze(2).expand(-1, -1, 4)
        boxes = torch.gather(self.get_buffer("boxes").expand(pictures.shape[0], -1, -1), 1, places)
        return boxes, ranked[:, :FOUND], torch.zeros_like(ranked[:, :FOUND])


def pictures(seed: int) -> torch.Tensor:
    """Eight pictures with squares that are nearly as bright as one another."""
    torch.manual_seed(seed)
    found = torch.rand(8, 1, SIDE, SIDE) * 0.2
    for picture in found:
        for row, column in torch.randint(0, (SIDE - BOX) // STEP + 1, (4, 2)) * STEP:
            picture[:, row : row + BOX, column : column + BOX] += 0.8
    return found


@pytest.fixture(scope="module")
def detector() -> Program:
    return Program.capture(BrightSquares().eval(), (pictures(0),))


@pytest.fixture(scope="module")
def quantized(detector: Program) -> Program:
    recipe = Recipe((QuantizeStatic(samples=8),))
    return compress.apply(detector, recipe, ArrayData(pictures(1).numpy()))


@pytest.fixture
def artifact(quantized: Program, tmp_path: Path) -> Artifact:
    return convert.to(quantized, "onnx", tmp_path / "model.onnx")


def test_a_file_that_finds_the_same_passes(detector: Program, artifact: Artifact) -> None:
    """8.9 dB row by row, where an int8 file of a float network must have 10; 97 % of what is found."""
    checked = _conversion.verify(detector, artifact, [(pictures(4).numpy(),)]).manifest.verification
    assert checked is not None
    assert checked.results["sqnr_db"] < checked.results["limit_db"]
    assert checked.results["found_agreement"] > 90 > checked.results["limit_agreement"]
    assert checked.status == "passed"


def test_the_command_says_what_is_found_alike(
    detector: Program, artifact: Artifact, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    detector.save(tmp_path / "original.pt2")
    np.savez(tmp_path / "data.npz", x=pictures(4).numpy())
    data = ["--data", f"npz:{tmp_path / 'data.npz'}"]
    files = [str(tmp_path / "original.pt2"), str(artifact.path)]
    assert run(["verify", *files, *data, "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["status"] == "passed"
    assert figures["found_agreement"] > 90
    assert run(["convert", files[0], *data, "--to", "onnx", "-o", str(tmp_path), "--name", "other"]) == 0
    assert "found alike, %" in capsys.readouterr().out


@pytest.mark.parametrize("broken", ["reversed", "half blind"])
def test_a_broken_file_fails(
    broken: str, detector: Program, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    module = detector.module()
    with torch.no_grad():
        weight = module.get_parameter("seen.weight")
        weight.neg_() if broken == "reversed" else weight[:, :, BOX // 2 :].zero_()
    artifact = convert.to(detector.replace(module), "onnx", tmp_path / "model.onnx")
    detector.save(tmp_path / "original.pt2")
    np.savez(tmp_path / "data.npz", x=pictures(4).numpy())
    asked = ["verify", str(tmp_path / "original.pt2"), str(artifact.path)]
    assert run([*asked, "--data", f"npz:{tmp_path / 'data.npz'}"]) == FAILED
    assert "what is found agrees by" in capsys.readouterr().err
