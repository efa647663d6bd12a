"""A user's own detector, from its file to a converted one whose mAP is compared."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgepress.artifact import Artifact
from edgepress.cli import run
from edgepress.detection import Gridded
from edgepress.program import Program

USER_FILE = """
import numpy as np
import torch
from edgepress.detection import Gridded

class Detector(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.reading = Gridded(size=(16, 16), shapes=(((8.0, 8.0),),), measure="voc")
        self.cells = torch.nn.Conv2d(3, 7, 8, 8)
        torch.nn.init.zeros_(self.cells.weight)
        # Bright cells have an object of class 1 in their middle.
        self.cells.weight.data[4] = 0.1
        self.cells.bias.data = torch.tensor([0.0, 0.0, 0.0, 0.0, -9.0, -9.0, 9.0])

    def forward(self, pictures):
        return self.cells(pictures)

def network():
    return Detector(), (torch.zeros(2, 3, 16, 16),)

def detect():
    x = np.zeros((4, 3, 16, 16), np.float32)
    x[:, :, 8:, 8:] = 1
    return [(x, [[[1, 8, 8, 16, 16]]] * 3 + [[[1, 0, 0, 8, 8]]])]
"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "mine.py").write_text(USER_FILE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_how_boxes_are_read_travels_to_the_last_file(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expected = Gridded(size=(16, 16), shapes=(((8.0, 8.0),),), measure="voc")
    assert run(["convert", "mine.py:network", "--data", "mine.py:detect", "--to", "onnx", "-o", "out"]) == 0
    assert Artifact.open(mine / "out" / "model.onnx").manifest.reading == expected
    from edgepress import models

    models.load("mine.py:network").save(mine / "mine.pt2")
    assert Program.load(mine / "mine.pt2").reading == expected

    capsys.readouterr()
    verified = [
        "verify",
        "mine.pt2",
        "out/model.onnx",
        "--data",
        "mine.py:detect",
        "--max-drop",
        "0",
        "--json",
    ]
    assert run(verified) == 0
    figures = json.loads(capsys.readouterr().out)
    # Three of four objects found and one box in the wrong place, all of one score, the wrong one last.
    assert figures["map_reference"] == figures["map_candidate"] == pytest.approx(75)
    assert figures["map_drop"] == 0
