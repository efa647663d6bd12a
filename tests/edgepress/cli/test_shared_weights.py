"""Shared weights and coded files from the command line, and every way to ask wrongly."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgepress.cli import run

USER_FILE = """
import tiny_networks, torch

def network():
    torch.manual_seed(0)
    return tiny_networks.Concatenated(), (torch.zeros(2, 3, 16, 16),)

def data():
    batches = list(tiny_networks.Patches(64).batches("train", None, batch_size=32))
    pairs = [(batch.inputs[0], batch.labels) for batch in batches]
    return {"train": pairs, "calibrate": pairs, "evaluate": pairs}
"""


def test_from_stages_to_a_coded_file_that_is_a_network_again(
    user: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = ["--data", f"{user}:data"]
    stages = ["--stage", "prune_weights:0.5", "--share", "4", "--fine-tune", "epochs=1,batch_size=32"]
    assert run(["compress", f"{user}:network", *data, *stages, "-o", str(tmp_path / "out")]) == 0
    assert "5,040 weights take about" in capsys.readouterr().err
    shared = json.loads((tmp_path / "out" / "result.json").read_text())["stages"][1]["results"]
    assert shared["shared"]["right.weight"]["bits"] == 4
    assert sum(facts["coded_bytes"] for facts in shared["shared"].values()) == pytest.approx(
        shared["coded_bytes"], abs=4
    )

    assert run(["convert", str(tmp_path / "out" / "model.pt2"), "--to", "epz", "-o", str(tmp_path)]) == 0
    coded = tmp_path / "model.epz"
    assert coded.stat().st_size < 0.5 * (tmp_path / "out" / "model.pt2").stat().st_size
    capsys.readouterr()
    assert run(["inspect", str(coded), "--to", "epz", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["shared"] == shared["shared"], "training has kept them"
    assert told["history"] == ["prune_weights", "share_weights", "fine_tune"]
    assert run(["verify", str(tmp_path / "out" / "model.pt2"), str(coded), "--samples", "8"]) == 0
    assert run(["compress", str(coded), "--quantize", "int8", *data, "-o", str(tmp_path / "again")]) == 0
    assert "quantize_static undid the shared values of 4 weights" in " ".join(capsys.readouterr().err.split())


def test_a_recipe_keeps_the_options(user: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stages = ["--share", "size=0.1,initialisation=linear", "--share", "sqnr_db=25"]
    assert run(["compress", f"{user}:network", *stages, "--save-recipe"]) == 0
    printed = capsys.readouterr().out
    (tmp_path / "recipe.yaml").write_text(printed)
    assert run(["compress", f"{user}:network", "-r", str(tmp_path / "recipe.yaml"), "--save-recipe"]) == 0
    assert capsys.readouterr().out == printed
    assert "initialisation: linear" in printed


@pytest.mark.parametrize(
    ("share", "code", "said"),
    [
        ("bits=9", 2, "bits=9: input should be less than or equal to 8"),
        ("bits=4,size=0.1", 2, "bits and size exclude each other"),
        ("initialisation=forgy", 2, "initialisation='forgy'"),
        ("size=0.0001", 5, "bytes at least, more than"),
    ],
)
def test_what_cannot_be_done_is_told(
    user: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], share: str, code: int, said: str
) -> None:
    assert run(["compress", f"{user}:network", "--share", share, "-o", str(tmp_path / "out")]) == code
    assert said in " ".join(capsys.readouterr().err.split())


def test_a_damaged_file_is_refused(user: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["convert", f"{user}:network", "--to", "epz", "-o", str(tmp_path)]) == 0
    coded = tmp_path / "model.epz"
    coded.write_bytes(coded.read_bytes()[:-1])
    (tmp_path / "model.epz.manifest.json").unlink()
    assert run(["inspect", str(coded)]) == 2
    assert "its checksum differs" in " ".join(capsys.readouterr().err.split())
