"""Where the disk is full, that is said, and nothing half written stays. PyTorch's own writers say it otherwise, or end the process."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny_networks
import torch
from full_disk import full_disk

from edgepress.cli import run
from edgepress.compress._training.checkpoint import Checkpoint
from edgepress.errors import BadInput

USAGE = 2
ROOM_BYTES = 4096


def test_a_network_cannot_be_written(tmp_path: Path) -> None:
    program = tiny_networks.capture(tiny_networks.Residual)
    with full_disk(ROOM_BYTES), pytest.raises(BadInput, match=r"Cannot write model.pt2: File too large"):
        program.save(tmp_path / "model.pt2")
    assert not list(tmp_path.iterdir())


def test_the_state_of_a_training_cannot_be_written(tmp_path: Path) -> None:
    kept = Checkpoint(tmp_path / "training.pt", "this one")
    kept.save({"epoch": 1})
    with full_disk(ROOM_BYTES), pytest.raises(BadInput, match=r"Cannot write training.pt: File too large"):
        kept.save({"epoch": 2, "weights": torch.zeros(ROOM_BYTES)})
    assert kept.load() == {"epoch": 1}, "what was kept before stays"
    assert [path.name for path in tmp_path.iterdir()] == ["training.pt"]


def test_what_a_converter_reads_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pnnx", reason="ncnn's converter is not installed")
    tiny_networks.capture(tiny_networks.Residual).save(tmp_path / "model.pt2")
    with full_disk(ROOM_BYTES):
        code = run(["convert", str(tmp_path / "model.pt2"), "--to", "ncnn", "-o", str(tmp_path / "out")])
    assert code == USAGE
    message = capsys.readouterr().err
    assert "File too large" in message
    assert "try:" in message
    assert not (tmp_path / "out").exists()
