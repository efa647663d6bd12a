"""A user's own detector, from its file to a converted one whose mAP is compared."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgepress.artifact import Artifact
from edgepress.cli import run
from edgepress.detection import Gridded
from edgepress.program import Program
from edgepress.result import RunResult
from edgepress.scoring import MeanOverlap

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

def segmenter():
    layers = torch.nn.Conv2d(1, 16, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(16, 2, 1)
    return torch.nn.Sequential(*layers), (torch.zeros(2, 1, 8, 8),)

def segment():
    x = np.random.default_rng(0).standard_normal((32, 1, 8, 8)).astype(np.float32)
    y = (x[:, 0] > 0).astype(np.int64)
    y[:, 0] = 255
    return [(x, y)]

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


def test_a_network_that_segments_is_trained_and_judged_by_its_overlap(
    mine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained = ["--fine-tune", "epochs=20,learning_rate=0.2,batch_size=4"]
    assert run(["compress", "mine.py:segmenter", "--data", "mine.py:segment", *trained, "-o", "out"]) == 0
    assert "mIoU, %" in capsys.readouterr().out
    result = RunResult.load(mine / "out")
    assert isinstance(result.compressed.accuracy, MeanOverlap)
    assert isinstance(result.original.accuracy, MeanOverlap)
    # Where a pixel is above zero is learned to all but a few of them near zero.
    assert result.compressed.accuracy.miou > 90 > result.original.accuracy.miou


def test_boxes_are_not_trained_on_and_the_message_says_what_to_do(
    mine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained = ["--fine-tune", "epochs=1"]
    assert run(["compress", "mine.py:network", "--data", "mine.py:detect", *trained, "-o", "out"]) == 2
    assert "boxes, and no stage trains on these" in capsys.readouterr().err
