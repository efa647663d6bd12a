"""`edgepress train`: from fresh weights to a trained network, alone, interrupted, and in two processes."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from edgepress.cli import run
from edgepress.program import Program

USER_FILE = """
import numpy as np, torch

class Plain(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 8, 3, stride=2)
        self.fc = torch.nn.Linear(8, 4)

    def forward(self, x):
        return self.fc(torch.relu(self.conv(x)).mean((2, 3)))

def network():
    return Plain(), (torch.zeros(2, 3, 16, 16),)

def patches():
    random = np.random.default_rng(0)
    y = random.integers(0, 4, 128)
    x = random.standard_normal((128, 3, 16, 16)).astype(np.float32)
    for picture, label in zip(x, y):
        picture[:, 8 * (label // 2):, 8 * (label % 2):] += 2
    return {"train": [(x, y)], "evaluate": [(x, y)]}
"""

# Without samples held out, four whole batches an epoch: each process gets eight samples of every one.
TRAINING = ["--epochs", "3", "--with", "batch_size=32,holdout=0,momentum=0.0"]


def _results(folder: Path) -> dict[str, Any]:
    (stage,) = json.loads((folder / "result.json").read_text())["stages"]
    results: dict[str, Any] = stage["results"]
    return results


def test_a_network_of_the_zoo_gets_the_datas_classes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    preprocess = "channel_order=L,size=[28,28],mean=[0.5],std=[0.5]"
    given = ["lenet5", "--data", "digits", "--preprocess", preprocess, "--epochs", "8"]
    assert run(["train", *given, "-o", str(tmp_path / "out")]) == 0
    assert "trained" in capsys.readouterr().out
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert result["original"]["accuracy"]["top1"] < 30 < 70 < result["compressed"]["accuracy"]["top1"]
    assert Program.load(tmp_path / "out" / "model.pt2").signature.outputs[0].shape[-1] == 10
    assert run(["train", *given, "-o", str(tmp_path / "out")]) == 2
    assert run(["train", *given, "-o", str(tmp_path / "out"), "--resume"]) == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "nothing to train on"),
        (["--data", "mine.py:patches", "--with", "epoch=3"], "epoch"),
        (["--data", "mine.py:patches", "--with", "epochs=3"], "--epochs N"),
        (["--data", "mine.py:patches", "--with", "learning_rate=-1"], "learning_rate"),
    ],
)
def test_what_cannot_be_trained(
    arguments: list[str], said: str, user: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [argument.replace("mine.py", str(user)) for argument in arguments]
    assert run(["train", f"{user}:network", *arguments, "-o", str(tmp_path / "out")]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(importlib.util.find_spec("accelerate") is None, reason="accelerate is not installed")
def test_two_processes_learn_what_one_learns(user: Path, tmp_path: Path) -> None:
    """The same loss and weights from the same whole batches, as far as float32 sums differ by their order."""
    arguments = ["train", f"{user}:network", "--data", f"{user}:patches", *TRAINING, "-o"]
    assert run([*arguments, str(tmp_path / "one")]) == 0
    launch = ["accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1"]
    launch += ["--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"]
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(tmp_path),
        "GLOO_SOCKET_IFNAME": "lo",
    }
    command = [sys.executable, "-m", *launch, "-m", "edgepress", *arguments, str(tmp_path / "two")]
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.count("training loss") == 1, "one process speaks"
    one, two = _results(tmp_path / "one"), _results(tmp_path / "two")
    assert (one.get("processes"), two["processes"]) == (None, 2)
    assert two["training_loss"] == pytest.approx(one["training_loss"], rel=1e-5)
    alone = Program.load(tmp_path / "one" / "model.pt2").exported.state_dict
    together = Program.load(tmp_path / "two" / "model.pt2").exported.state_dict
    for name, weight in alone.items():
        assert torch.allclose(weight, together[name], atol=1e-5), name
